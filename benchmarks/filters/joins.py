"""Shots joined in known ways: what the shot finder must find, and what it must not be fooled by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.filters.damage import EXCERPTS, Excerpt, Frames, Variant, encode, untouched

FPS = 25.0
_SIZE = (270, 480)
_SECONDS = 2.6


@dataclass(frozen=True, slots=True)
class Join:
    """How two shots meet: for so many seconds, through black or not; ``cuts`` is False where they are one shot."""

    name: str
    seconds: float = 0.0
    black: bool = False
    flash: bool = False

    @property
    def is_boundary(self) -> bool:
        return not self.flash


JOINS = (
    Join("cut"),
    Join("dissolve .4 s", 0.4),
    Join("dissolve 1 s", 1.0),
    Join("dissolve 1.6 s", 1.6),
    Join("fade through black", 1.0, black=True),
    Join("flash", flash=True),
)


def _read(item: Excerpt, folder: Path) -> Frames:
    """Frames of one size and rate."""
    frames, fps = item.read(folder)
    numbers = np.arange(int(_SECONDS * FPS))
    chosen = frames[np.minimum((numbers * fps / FPS).astype(int), len(frames) - 1)]
    return np.stack([cv2.resize(frame, _SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in chosen])


def join(first: Frames, second: Frames, how: Join) -> tuple[Frames, tuple[float, float] | None]:
    """The joined frames, and from when to when the boundary lasts."""
    if how.flash:
        lit = first.copy()
        middle = len(lit) // 2
        lit[middle : middle + 2] = np.clip(lit[middle : middle + 2].astype(np.int16) + 170, 0, 255)
        return lit, None
    length = round(how.seconds * FPS)
    share = ((np.arange(length) + 1) / (length + 1)).astype(np.float32)[:, None, None, None]
    tail, head = first[len(first) - length :].astype(np.float32), second[:length].astype(np.float32)
    if how.black:
        mixed = tail * np.maximum(0, 1 - 2.2 * share) + head * np.maximum(0, 2.2 * share - 1.2)
    else:
        mixed = tail * (1 - share) + head * share
    start = len(first) - length
    joined = np.concatenate([first[:start], mixed.astype(np.uint8), second[length:]])
    return joined, (start / FPS, (start + length) / FPS)


def joined(folder: Path, made: Path) -> Iterator[tuple[int, Join, Path, tuple[float, float] | None]]:
    """Each excerpt with the next in each way, made where it isn't yet."""
    made.mkdir(parents=True, exist_ok=True)
    variant = Variant("joined", None, untouched)
    for number, item in enumerate(EXCERPTS):
        pair: tuple[Frames, Frames] | None = None
        for how in JOINS:
            path = made / f"{number:02}-{how.name.replace(' ', '_')}.mkv"
            if path.exists():
                length = round(how.seconds * FPS)
                end = int(_SECONDS * FPS) - length
                yield number, how, path, None if how.flash else (end / FPS, (end + length) / FPS)
                continue
            pair = pair or (_read(item, folder), _read(EXCERPTS[(number + 1) % len(EXCERPTS)], folder))
            frames, boundary = join(*pair, how)
            partial = path.with_suffix(".partial.mkv")
            encode(partial, frames, FPS, variant)
            partial.rename(path)
            yield number, how, path, boundary
