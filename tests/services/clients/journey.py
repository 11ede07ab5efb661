"""What a program does with the Videos API, by whichever `openai` package is found first; prints what it saw."""

import io
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
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


def edits(client: openai.OpenAI, video_id: str) -> list[dict[str, Any]]:
    """A remix, an edit and an extension of a video, in which the second and third are later than the first clients."""
    few: Any = {"num_inference_steps": 2, "guidance_scale": 1}
    made: list[Any] = [client.videos.remix(video_id, prompt="a blue ball")]
    of_video = few | {"video": {"id": video_id}}  # as an argument it raises RuntimeError before anything is sent
    if hasattr(client.videos, "edit"):
        made.append(client.videos.edit(prompt="a blue ball", video=openai.omit, extra_body=of_video))  # type: ignore[arg-type]
        film = client.videos.download_content(video_id).read()
        clip = ("a.mp4", io.BytesIO(film), "video/mp4")
        made.append(client.videos.extend(prompt="on and on", seconds="1", video=clip, extra_body=few))  # type: ignore[arg-type]
    ended: list[Any] = [client.videos.poll(video.id) for video in made]
    names = ("id", "status", "edit", "num_frames", "remixed_from_video_id")
    return [{name: getattr(video, name) for name in names} for video in ended]


def character(client: openai.OpenAI, video_id: str, small: dict[str, Any]) -> dict[str, Any]:
    """A character kept from a video, and a video that shows it; the first clients know no method for it."""
    film = ("a.mp4", io.BytesIO(client.videos.download_content(video_id).read()), "video/mp4")
    kept: Any
    if hasattr(client.videos, "create_character"):
        kept = client.videos.create_character(name="Bo", video=film)
        same: Any = client.videos.get_character(kept.id)
    else:
        form: Any = {"headers": {"Content-Type": "multipart/form-data"}}
        sent: Any = {"body": {"name": "Bo"}, "files": [("video", film)], "options": form}
        kept = SimpleNamespace(**client.post("/videos/characters", **sent, cast_to=dict[str, object]))
        same = SimpleNamespace(**client.get(f"/videos/characters/{kept.id}", cast_to=dict[str, object]))
    shown: Any = client.videos.create(
        prompt="Bo moves left",
        size="48x32",  # type: ignore[arg-type]
        extra_body=small | {"characters": [{"id": kept.id}]},
    )
    shown = client.videos.poll(shown.id)
    client.videos.delete(shown.id)
    alike = (kept.id, kept.created_at) == (same.id, same.created_at)
    return {"name": same.name, "alike": alike, "status": shown.status, "shown": shown.characters == [kept.id]}


def journey(client: openai.OpenAI, picture: bytes) -> dict[str, Any]:
    """Create, poll, download, edit, list, delete; and what is refused."""
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
    edited = edits(client, made.id)
    listed = [video.id for video in client.videos.list(limit=1)]
    deleted = client.videos.delete(again.id)
    return {
        "version": openai.__version__,
        "states": [made.status, polled.status, polled.progress, again.status],
        "seed": polled.seed,
        "variants": variants,
        "edited": edited,
        "character": character(client, made.id, small),
        "listed": listed == [*(edit["id"] for edit in reversed(edited)), again.id, made.id],
        "deleted": [deleted.id == again.id, deleted.deleted],
        "models": [model.id for model in client.models.list()],
        "refusals": {
            "unknown": refusal(lambda: client.videos.create(prompt="x", extra_body={"guidence": 1})),
            "gone": refusal(lambda: client.videos.retrieve(again.id)),
            "key": refusal(lambda: client.with_options(api_key="sk-eve").videos.retrieve(made.id)),
        },
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the package marks its video calls as deprecated
    url, key, path = sys.argv[1:]
    seen = journey(openai.OpenAI(base_url=url, api_key=key), Path(path).read_bytes())
    sys.stdout.write(json.dumps(seen))
