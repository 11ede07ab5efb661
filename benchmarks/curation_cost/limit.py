"""All cheap filters against the limit, which is decoding: the same files, one core, rounds in turn.

``python -m benchmarks.curation_cost.limit FOOTAGE [ROUNDS]``. Decoding is our decoder's own way of opening a file,
every frame of it, and nothing else. Examining is `jobs.curate.stages.examine.examine` without models: fetch, probe,
decode, shots, all scores, fingerprints, previews, verdicts. Files that don't decode are left out. A file's seconds are
its median round's.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.rows import Source
from jobs.curate.stages.examine import examine
from jobs.launch import load_config
from sora_core import media
from sora_core.errors import UnreadableMedia
from sora_core.media.stream import timed_frames

ROUNDS = 3
NO_MODELS = ("models.text=", "models.indecency=", "models.transitions=")
# The lines of a picture from which a file belongs to a class.
CLASSES = (("720 lines and more", 720), ("360 to 719", 360), ("below 360", 0))


@dataclass(frozen=True, slots=True)
class Film:
    """A file that decodes; ``lines`` are its shorter side's."""

    source: Source
    path: Path
    fps: float
    lines: int

    def decode(self) -> int:
        """Every frame and nothing else: how many there are."""
        return sum(1 for _ in timed_frames(self.path))


def films(config: CurateConfig) -> list[Film]:
    """The videos under the config's source."""
    found = []
    for source in make_plan(config, {}).sources:
        path = Path(source.uri)
        try:
            info = media.probe(path)
        except UnreadableMedia:
            continue
        if info.kind == "video":
            found.append(Film(source, path, info.fps or 1.0, min(info.height, info.width)))
    return found


def timed(work: Callable[..., object], *args: object) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work(*args)
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def measure(found: list[Film], config: CurateConfig, rounds: int) -> np.ndarray:
    """Seconds ``(files, decode or examine, CPU or wall)``, the median of the rounds."""
    seconds = np.empty((rounds, len(found), 2, 2))
    for row in seconds:
        for number, film in enumerate(found):
            row[number, 0] = timed(film.decode)
            row[number, 1] = timed(examine, film.source, config)
    return np.asarray(np.median(seconds, axis=0))


def main(footage: str, rounds: int) -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    config = load_config("curate", CurateConfig, ["--set", f"source={footage}", "output=-", *NO_MODELS])
    found = films(config)
    frames = np.array([film.decode() for film in found])
    lasting_s = frames / np.array([film.fps for film in found])
    lines = np.array([film.lines for film in found])
    seconds = measure(found, config, rounds)
    print("| files | number | footage | frames | decode, CPU s | examine, CPU s | ratio | ratio of wall times |")
    print("|---|---|---|---|---|---|---|---|")
    upper = sys.maxsize
    for name, lower in (*CLASSES, ("all", 0)):
        chosen = (lines >= lower) & ((lines < upper) | (name == "all"))
        upper = lower
        (decode_cpu, decode_wall), (examine_cpu, examine_wall) = seconds[chosen].sum(axis=0)
        what = f"{chosen.sum()} | {lasting_s[chosen].sum():.0f} s | {frames[chosen].sum()}"
        ratios = f"{examine_cpu / decode_cpu:.2f} | {examine_wall / decode_wall:.2f}"
        print(f"| {name} | {what} | {decode_cpu:.2f} | {examine_cpu:.2f} | {ratios} |")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
