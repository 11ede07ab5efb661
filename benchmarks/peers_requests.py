"""A served model under the requests of two peers' benchmarks: `python -m benchmarks.peers_requests URL KEY`.

The bodies, polls and fields read are those of SGLang-Diffusion 0.5.23 (`multimodal_gen/benchmarks/bench_serving.py`)
and vLLM-Omni 0.30 (`benchmarks/`), with nothing changed for this server but the key's header. A table of what each got
and how long it took.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from PIL import Image

_POLL_S = 0.5
_GIVE_UP_S = 600.0
PROMPT = "a red ball moves left over grass"


def _picture(size: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", tuple(map(int, size.split("x"))), (200, 30, 30)).save(stream, "PNG")  # type: ignore[arg-type]
    return stream.getvalue()


def sglang_text_to_video(client: httpx.Client, model: str, size: str) -> httpx.Response:
    """JSON; what the benchmark's ``extra_body`` holds is merged into it."""
    body = {"model": model, "prompt": PROMPT, "num_outputs_per_prompt": 1, "size": size, "num_frames": 5}
    return client.post("/v1/videos", json=body | {"num_inference_steps": 2, "fps": 8})


def sglang_image_to_video(client: httpx.Client, model: str, size: str) -> httpx.Response:
    """A form, whose ``extra_body`` is a field of JSON."""
    fields = {"model": model, "prompt": PROMPT, "num_outputs_per_prompt": "1", "size": size, "num_frames": "5"}
    fields |= {"fps": "8", "extra_body": json.dumps({"num_inference_steps": 2})}
    files = {"input_reference": ("first.png", _picture(size), "application/octet-stream")}
    return client.post("/v1/videos", data=fields, files=files)


def sglang_text_to_image(client: httpx.Client, model: str, size: str) -> httpx.Response:
    """JSON, answered when the image is there."""
    body = {"model": model, "prompt": PROMPT, "n": 1, "response_format": "b64_json", "size": size}
    return client.post("/v1/images/generations", json=body | {"num_inference_steps": 2})


def vllm_omni_text_to_video(client: httpx.Client, model: str, size: str) -> httpx.Response:
    """A form with every parameter that the benchmark can set."""
    width, height = size.split("x")
    fields = {"model": model, "prompt": PROMPT, "width": width, "height": height, "num_frames": "5", "fps": "8"}
    fields |= {"num_inference_steps": "2", "guidance_scale": "3.0", "negative_prompt": "blur", "seed": "42"}
    fields |= {"flow_shift": "5.0", "boundary_ratio": "0.875"}
    return client.post("/v1/videos", files={name: (None, value) for name, value in fields.items()})


SHAPES: Sequence[Callable[[httpx.Client, str, str], httpx.Response]] = (
    sglang_text_to_video,
    sglang_image_to_video,
    sglang_text_to_image,
    vllm_omni_text_to_video,
)


def outcome(client: httpx.Client, answer: httpx.Response) -> str:
    """What the benchmark would note: it polls videos until they end, and reads their fields."""
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}: {answer.text[:200]}"
    seen: dict[str, Any] = answer.json()
    if "data" in seen:
        return "completed" if seen["data"][0].get("b64_json") else "no image"
    give_up = time.monotonic() + _GIVE_UP_S
    while seen["status"] not in ("completed", "failed") and time.monotonic() < give_up:
        time.sleep(_POLL_S)
        seen = client.get(f"/v1/videos/{seen['id']}").raise_for_status().json()
    if seen["status"] != "completed":
        return f"{seen['status']}: {seen['error']}"
    return f"completed, inference_time_s {seen['inference_time_s']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every shape once; 1 when one of them didn't get what it asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--size", default="48x32")
    asked = parser.parse_args(arguments)
    good = True
    headers = {"authorization": f"Bearer {asked.key}"}
    with httpx.Client(base_url=asked.url, headers=headers, timeout=_GIVE_UP_S) as client:
        client.get("/health").raise_for_status()
        model = client.get("/v1/models").raise_for_status().json()["data"][0]["id"]
        for shape in SHAPES:
            began = time.monotonic()
            result = outcome(client, shape(client, model, asked.size))
            good = good and result.startswith("completed")
            sys.stdout.write(f"{shape.__name__:26} {time.monotonic() - began:8.1f} s  {result}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
