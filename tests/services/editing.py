"""Edits asked for over HTTP, and what they start from."""

import io
import json
from typing import Any

import numpy as np
from PIL import Image

from sora_core import media

from .http import HTTP
from .live import KEYS, LiveService

AUTH = {owner: {"authorization": f"Bearer {key}"} for owner, key in KEYS.items()}
FEW = {"prompt": "x", "num_inference_steps": 2, "guidance_scale": 1}
SIZE = (32, 48)
NUM_FRAMES = 9


def moving(num_frames: int = NUM_FRAMES, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A red block that goes right, over a ramp."""
    frames = np.zeros((num_frames, *size, 3), np.uint8)
    frames[..., 1] = np.linspace(60, 200, size[1])[None, None]
    for number in range(num_frames):
        frames[number, 8:24, number : number + 16] = (220, 40, 40)
    return frames


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tone(seconds: float) -> np.ndarray:
    samples = 8000 * np.sin(np.arange(round(seconds * media.SOUND_HZ)) * 2 * np.pi * 440 / media.SOUND_HZ)
    return samples.astype(np.int16)[:, None].repeat(2, 1)


def post(service: LiveService, path: str, files: dict[str, Any] | None = None, owner: str = "ann", **data: Any) -> Any:
    sent = {name: (name, content) for name, content in (files or {}).items()}
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}
    address = f"{service.url}/v1/videos{path}"
    return HTTP.post(address, data=FEW | values, files=sent or None, headers=AUTH[owner], timeout=60)


def ask(service: LiveService, path: str, files: dict[str, Any] | None = None, **data: Any) -> str:
    answer = post(service, path, files, **data)
    assert answer.status_code == 200, answer.text
    video_id: str = answer.json()["id"]
    return video_id
