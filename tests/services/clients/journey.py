"""What a program does with the Videos API, by whichever `openai` package is found first; prints what it saw."""

import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import openai


def refusal(call: Any) -> dict[str, Any]:
    """The exception of a call as its caller reads it."""
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "code": error.code,
            "param": error.param,
            "named": error.request_id is not None,
        }
    return {"class": None}


def journey(client: openai.OpenAI, picture: bytes) -> dict[str, Any]:
    """Create, poll, download, list, delete; and what is refused."""
    small = {"num_frames": 5, "num_inference_steps": 2, "seed": 3}
    made: Any = client.videos.create(prompt="a red ball", size="48x32", extra_body=small)  # type: ignore[arg-type]
    polled: Any = client.videos.poll(made.id)
    again: Any = client.videos.create_and_poll(
        prompt="from a picture",
        size="48x32",  # type: ignore[arg-type]
        input_reference=("a.png", io.BytesIO(picture), "image/png"),
        extra_body=small,
    )
    variants = {
        variant: client.videos.download_content(made.id, variant=variant).read()[:12].hex()  # type: ignore[arg-type]
        for variant in ("video", "thumbnail", "spritesheet")
    }
    listed = [video.id for video in client.videos.list(limit=1)]
    deleted = client.videos.delete(again.id)
    return {
        "version": openai.__version__,
        "states": [made.status, polled.status, polled.progress, again.status],
        "seed": polled.seed,
        "variants": variants,
        "listed": listed == [again.id, made.id],
        "deleted": [deleted.id == again.id, deleted.deleted],
        "models": [model.id for model in client.models.list()],
        "refusals": {
            "unknown": refusal(lambda: client.videos.create(prompt="x", extra_body={"guidence": 1})),
            "gone": refusal(lambda: client.videos.retrieve(again.id)),
            "remix": refusal(lambda: client.videos.remix(made.id, prompt="x")),
            "key": refusal(lambda: client.with_options(api_key="sk-eve").videos.retrieve(made.id)),
        },
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the package marks its video calls as deprecated
    url, key, path = sys.argv[1:]
    seen = journey(openai.OpenAI(base_url=url, api_key=key), Path(path).read_bytes())
    sys.stdout.write(json.dumps(seen))
