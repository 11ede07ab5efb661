"""Clients of the chaos run: they ask for videos and images of every kind, and never give up."""

import base64
import io
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from sora_core import media

SIZE = (32, 48)
WORDS = {"prompt": "a red ball", "size": "48x32", "seed": 3, "guidance_scale": 1.0, "num_inference_steps": 2}


@dataclass(slots=True)
class Asked:
    """A request that was accepted; ``ids`` are its jobs."""

    kind: str
    ids: list[str]
    ended_by_client: bool = False


@dataclass(slots=True)
class Book:
    """What was asked for and accepted, and what stood in the way."""

    asked: list[Asked] = field(default_factory=list)
    refused: int = 0
    odd: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def picture() -> bytes:
    stream = io.BytesIO()
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3).astype(np.uint8)
    Image.fromarray(ramp).save(stream, "png")
    return stream.getvalue()


def film(folder: Path) -> bytes:
    """A clip of nine frames."""
    path = folder / "film.mp4"
    row = np.linspace(0, 255, SIZE[1]).astype(np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(row, 3 * step)[None, :, None], (*SIZE, 3)) for step in range(9)])
    media.encode_mp4(path, frames, 8.0, crf=10)
    return path.read_bytes()


def kinds(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every kind of request: its path, and how httpx sends it."""
    still = "data:image/png;base64," + base64.b64encode(picture()).decode()
    clip = {"video": ("film.mp4", film(folder), "video/mp4")}
    form = {name: str(value) for name, value in WORDS.items() if name != "size"}
    return {
        "words": ("/videos", {"json": WORDS | {"num_frames": 5}}),
        "two": ("/videos", {"json": WORDS | {"num_frames": 5, "n": 2}}),
        "guided": ("/videos", {"json": WORDS | {"num_frames": 9, "guidance_scale": 2.0}}),
        "still": ("/videos", {"json": WORDS | {"num_frames": 5, "input_reference": {"image_url": still}}}),
        "edit": ("/videos/edits", {"data": form | {"strength": "0.5"}, "files": clip}),
        "extend": ("/videos/extensions", {"data": form | {"num_frames": "8"}, "files": clip}),
        "image": ("/images/generations", {"json": WORDS | {"response_format": "url"}}),
    }


class Person(threading.Thread):
    """Asks for ``count`` things, each until it is accepted; cancels some, deletes some."""

    def __init__(self, urls: list[str], key: str, count: int, what: dict[str, Any], book: Book, seed: int) -> None:
        super().__init__(name=f"person-{seed}", daemon=True)
        self._urls, self._count, self._what, self._book = urls, count, what, book
        self._dice = random.Random(seed)
        self._client = httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=60.0)

    def run(self) -> None:
        names = list(self._what)
        for number in range(self._count):
            kind = names[number % len(names)]
            answer = self._until_answered("POST", *self._what[kind])
            if answer is None:
                continue
            found = answer.json()
            ids = [found["id"], *found["siblings"]] if "id" in found else _images_of(found)
            asked = Asked(kind, ids)
            with self._book.lock:
                self._book.asked.append(asked)
            if "id" in found and self._dice.random() < 0.1:
                asked.ended_by_client = True
                cancel = self._dice.random() < 0.5
                path = f"/videos/{ids[0]}"
                self._until_answered("POST" if cancel else "DELETE", f"{path}/cancel" if cancel else path, {})
        self._client.close()

    def _until_answered(self, method: str, path: str, content: dict[str, Any]) -> httpx.Response | None:
        """The answer of 200, or None for one that is final; anything else is tried again under the same key."""
        headers = {"idempotency-key": uuid.uuid4().hex}
        while True:
            try:
                url = self._dice.choice(self._urls)
                answer = self._client.request(method, f"{url}/v1{path}", headers=headers, **content)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return answer
            if answer is not None and method == "DELETE" and answer.status_code == 404:
                return None  # an earlier try did it
            if answer is not None and answer.status_code < 500 and answer.status_code not in (409, 429):
                with self._book.lock:
                    self._book.odd.append(f"{path}: {answer.status_code} {answer.text[:200]}")
                return None
            with self._book.lock:
                self._book.refused += 1
            time.sleep(0.3)


def people_of(folder: Path, urls: list[str], key: str, count: int, number: int, book: Book) -> list[Person]:
    """So many people, who ask for so many things in all, and a few more where that doesn't divide."""
    what, share = kinds(folder), -(-count // number)
    return [Person(urls, key, share, what, book, seed) for seed in range(number)]


def _images_of(answer: dict[str, Any]) -> list[str]:
    """The ids in the links of images."""
    return [httpx.URL(image["url"]).path.split("/")[3] for image in answer["data"]]
