"""Precision and recall of every filter on footage with known damage.

``python -m benchmarks.filters.filters FOOTAGE [MADE]``: every other source chooses the threshold, the rest shows what
it is worth. MADE keeps the damaged clips for the next time.
"""

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from benchmarks.filters.damage import EXCERPTS, variants
from benchmarks.filters.joins import JOINS, joined
from jobs.curate.config import CurateConfig
from jobs.curate.examine import look
from jobs.curate.rows import Scores
from jobs.launch import load_config

# What the damage is called, the score that shows it, and whether more of that is worse.
SCORES = {
    "dark": ("luma", False),
    "bright": ("luma", True),
    "flat": ("contrast", False),
    "blur": ("sharpness", False),
    "frozen": ("frozen", True),
    "shake": ("shake", True),
    "blocky": ("blockiness", True),
    "duplicated": ("duplicated", True),
    "text": ("text", True),
    "bars": ("bars", True),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A damaged clip's scores."""

    file: str
    half: int
    has: frozenset[str]
    variant: str
    finds: str | None
    scores: Scores


def measure(footage: Path, made: Path, config: CurateConfig) -> list[Measured]:
    """The scores of every excerpt in every variant."""
    found = []
    for item, variant, path in variants(footage, made / "damaged"):
        meter = look(path, config).meter
        half = EXCERPTS.index(item) % 2
        found.append(Measured(item.file, half, item.has, variant.name, variant.finds, meter.scores(0, np.inf)))
    return found


def split(found: Sequence[Measured], kind: str, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the damaged and of the clean clips in a half, so turned that more is worse."""
    score, is_more_worse = SCORES[kind]
    usable = [item for item in found if item.half == half and kind not in item.has]
    damaged, clean = (
        [getattr(item.scores, score) for item in usable if item.finds == wanted] for wanted in (kind, None)
    )
    sign = 1 if is_more_worse else -1
    return tuple(sign * np.array([value for value in values if value is not None]) for values in (damaged, clean))  # type: ignore[return-value]


def rates(damaged: np.ndarray, clean: np.ndarray, threshold: float) -> tuple[float, float]:
    """Precision, as if both were equally frequent, and recall."""
    recall, false = float((damaged > threshold).mean()), float((clean > threshold).mean())
    return (recall / (recall + false) if recall + false else 1.0), recall


def choose(damaged: np.ndarray, clean: np.ndarray) -> float:
    """The threshold with the best of the worse of precision and recall; the middle of those as good."""
    values = np.unique(np.concatenate([damaged, clean]))
    between = (values[1:] + values[:-1]) / 2
    worth = np.array([min(rates(damaged, clean, float(value))) for value in between])
    best = between[worth >= worth.max() - 1e-9]
    return float(best[len(best) // 2])


def main(footage: Path, made: Path) -> None:
    """Print the tables."""
    config = load_config("curate", CurateConfig, ["--set", "source=-", "output=-"])
    found = measure(footage, made, config)
    rows = [asdict(item) | {"has": sorted(item.has)} for item in found]
    (made / "scores.json").write_text(json.dumps(rows))
    print("| filter | score | clips (damaged, clean) | threshold | precision | recall | by damage |")
    print("|---|---|---|---|---|---|---|")
    for kind, (score, is_more_worse) in SCORES.items():
        threshold = choose(*split(found, kind, 0))
        damaged, clean = split(found, kind, 1)
        precision, recall = rates(damaged, clean, threshold)
        by_damage = defaultdict(list)
        for item in found:
            value = getattr(item.scores, score)
            if item.half == 1 and item.finds == kind and kind not in item.has and value is not None:
                by_damage[item.variant].append((value if is_more_worse else -value) > threshold)
        named = ", ".join(f"{name} {sum(hits)}/{len(hits)}" for name, hits in by_damage.items())
        print(
            f"| {kind} | {score} | {len(damaged)}, {len(clean)} | {abs(threshold):.3g} | {precision:.1%} | "
            f"{recall:.1%} | {named} |"
        )
    show_models(found)
    show_shots(footage, made, config)


def show_models(found: Sequence[Measured]) -> None:
    """What can't be made by damage: how high a model scores on footage that has nothing of it."""
    values = np.array([item.scores.indecency for item in found if item.finds is None and item.scores.indecency])
    if len(values):
        print(f"\nindecency of {len(values)} clean clips: median {np.median(values):.3f}, most {values.max():.3f}")


def show_shots(footage: Path, made: Path, config: CurateConfig) -> None:
    """Boundaries found, and found where there is none, by how the shots were joined and by half."""
    found = {(how.name, half): [0, 0, 0] for how in JOINS for half in (0, 1)}
    for number, how, path, boundary in joined(footage, made / "joined"):
        shots = look(path, config).shots
        ends = [(before[1], after[0]) for before, after in pairwise(shots)]
        hits = [end for end in ends if boundary and end[0] <= boundary[1] + 0.2 and end[1] >= boundary[0] - 0.2]
        counts = found[how.name, number % 2]
        counts[0] += bool(hits)
        counts[1] += boundary is not None
        counts[2] += len(ends) - len(hits)
    print("\n| joined by | found, of (first half) | false | found, of (second half) | false |\n|---|---|---|---|---|")
    for how in JOINS:
        cells = " | ".join(f"{hits}/{all_} | {false}" for hits, all_, false in (found[how.name, 0], found[how.name, 1]))
        print(f"| {how.name} | {cells} |")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    _, footage_folder, *kept = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        main(Path(footage_folder), Path(kept[0] if kept else folder))
