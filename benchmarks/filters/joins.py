"""Shots joined in known ways: what the shot finder must find, and what it must not be fooled by.

``python -m benchmarks.filters.joins FOOTAGE [MADE]``; MADE keeps the joined clips for the next time.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from benchmarks.filters.damage import EXCERPTS, Excerpt, Frames, Variant, encode, untouched
from jobs.curate.config import CurateConfig
from jobs.curate.stages.examine import look
from jobs.launch import load_config

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


def main(footage: Path, made: Path) -> None:
    """Boundaries found, and found where there is none, by how the shots were joined and by half."""
    config = load_config("curate", CurateConfig, ["--set", "source=-", "output=-", "models.text=", "models.indecency="])
    found = {(how.name, half): [0, 0, 0] for how in JOINS for half in (0, 1)}
    for number, how, path, boundary in joined(footage, made):
        shots = look(path, config).shots
        ends = [(before[1], after[0]) for before, after in pairwise(shots)]
        hits = [end for end in ends if boundary and end[0] <= boundary[1] + 0.2 and end[1] >= boundary[0] - 0.2]
        counts = found[how.name, number % 2]
        counts[0] += bool(hits)
        counts[1] += boundary is not None
        counts[2] += len(ends) - len(hits)
    print("| joined by | found, of (first half) | false | found, of (second half) | false |\n|---|---|---|---|---|")
    for how in JOINS:
        cells = " | ".join(f"{hits}/{all_} | {false}" for hits, all_, false in (found[how.name, 0], found[how.name, 1]))
        print(f"| {how.name} | {cells} |")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    _, footage_folder, *kept = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        main(Path(footage_folder), Path(kept[0] if kept else folder))
