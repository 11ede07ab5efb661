"""Precision and recall of every filter on footage with known damage.

``python -m benchmarks.filters.filters FOOTAGE [MADE]``: each file is judged by the threshold that all other files
choose. MADE keeps the damaged clips and their scores: an interrupted run goes on from them.
"""

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.filters.damage import variants
from jobs.curate.config import CurateConfig
from jobs.curate.listing import filters_of
from jobs.curate.measure.models import load
from jobs.curate.measure.score import Meter
from jobs.curate.rows import Scores
from jobs.launch import load_config
from sora_core import media

# What the damage is called, the score that shows it, and whether more of that is worse.
SCORES = {
    "dark": ("luma", False),
    "bright": ("luma", True),
    "flat": ("contrast", False),
    "blur": ("sharpness", False),
    "frozen": ("frozen", True),
    "shake": ("shake", True),
    "blocky": ("blockiness", True),
    "coarse": ("quantiser", True),
    "stored again": ("blockiness", True),
    "duplicated": ("duplicated", True),
    "text": ("text", True),
    "bars": ("bars", True),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A damaged clip's scores."""

    file: str
    has: frozenset[str]
    variant: str
    finds: str | None
    scores: Scores


def measure(footage: Path, made: Path, config: CurateConfig) -> list[Measured]:
    """The scores of every excerpt in every variant."""
    notes = made / f"scores-{filters_of(config)}.jsonl"
    made.mkdir(parents=True, exist_ok=True)
    notes.touch()
    known = {note["clip"]: Scores(**note["scores"]) for note in map(json.loads, notes.read_text().splitlines())}
    found = []
    for item, variant, path in variants(footage, made / "damaged"):
        if path.name not in known:
            known[path.name] = scores_of(path, config)
            with notes.open("a") as lines:
                lines.write(json.dumps({"clip": path.name, "scores": asdict(known[path.name])}) + "\n")
        found.append(Measured(item.file, item.has, variant.name, variant.finds, known[path.name]))
    return found


def scores_of(path: Path, config: CurateConfig) -> Scores:
    """The scores of a whole file."""
    meter = Meter(load(config.models))
    with media.play(path) as (_, frames):
        for frame in frames:
            meter.add(frame)
    return meter.scores(0, np.inf)


@dataclass(frozen=True, slots=True)
class Judged:
    """A clip for one filter: its score so turned that more is worse, and whether it should be found."""

    file: str
    variant: str
    score: float
    is_damaged: bool


def concerned(found: Sequence[Measured], kind: str) -> list[Judged]:
    """The clips that are damaged so, and the clean ones that don't suffer from it themselves."""
    score, is_more_worse = SCORES[kind]
    sign = 1 if is_more_worse else -1
    return [
        Judged(item.file, item.variant, sign * value, item.finds == kind)
        for item in found
        if kind not in item.has and item.finds in (kind, None) and (value := getattr(item.scores, score)) is not None
    ]


def precision(recall: float, false: float) -> float:
    """As if damaged and clean clips were equally frequent."""
    return recall / (recall + false) if recall + false else 1.0


def choose(clips: Sequence[Judged]) -> float:
    """The threshold with the best of the worse of precision and recall; the middle of those as good."""
    damaged, clean = (np.array([clip.score for clip in clips if clip.is_damaged == wanted]) for wanted in (True, False))
    values = np.unique([clip.score for clip in clips])
    between = (values[1:] + values[:-1]) / 2
    recalls = [(float((damaged > value).mean()), float((clean > value).mean())) for value in between]
    worth = np.array([min(precision(recall, false), recall) for recall, false in recalls])
    best = between[worth >= worth.max() - 1e-9]
    return float(best[len(best) // 2])


def verdicts(clips: Sequence[Judged]) -> list[tuple[Judged, bool]]:
    """Each clip, and whether it is found by the threshold that the other files' clips choose."""
    thresholds = {file: choose([clip for clip in clips if clip.file != file]) for file in {clip.file for clip in clips}}
    return [(clip, clip.score > thresholds[clip.file]) for clip in clips]


def main(footage: Path, made: Path) -> None:
    """Print the tables."""
    config = load_config("curate", CurateConfig, ["--set", "source=-", "output=-"])
    found = measure(footage, made, config)
    print("| damage | score | clips (damaged, clean) | threshold | precision | recall | by damage |")
    print("|---|---|---|---|---|---|---|")
    for kind, (score, _) in SCORES.items():
        clips = concerned(found, kind)
        print(f"| {kind} | {score} | {row(clips)} |")
    show_models(found)


def row(clips: Sequence[Judged]) -> str:
    """A filter's cells of the table."""
    judged = verdicts(clips)
    hits, false = ([is_found for clip, is_found in judged if clip.is_damaged == wanted] for wanted in (True, False))
    recall = sum(hits) / len(hits)
    by_damage = defaultdict(list)
    for clip, is_found in judged:
        if clip.is_damaged:
            by_damage[clip.variant].append(is_found)
    named = ", ".join(f"{name} {sum(parts)}/{len(parts)}" for name, parts in by_damage.items())
    return (
        f"{len(hits)}, {len(false)} | {abs(choose(clips)):.3g} | {precision(recall, sum(false) / len(false)):.1%} | "
        f"{recall:.1%} | {named}"
    )


def show_models(found: Sequence[Measured]) -> None:
    """What can't be made by damage: how high a model scores on footage that has nothing of it."""
    values = np.array([item.scores.indecency for item in found if item.finds is None and item.scores.indecency])
    if len(values):
        print(f"\nindecency of {len(values)} clean clips: median {np.median(values):.3f}, most {values.max():.3f}")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    _, footage_folder, *kept = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        main(Path(footage_folder), Path(kept[0] if kept else folder))
