"""A training run, out of what it left in storage: its curves, and the checkpoints with their cards and samples."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sora_core import storage
from sora_core.errors import MissingObject

CURVES = ("loss", "gradient_norm", "rate")
POINTS = 400  # of a curve: more than a screen shows apart
_SHOWN = r"README\.md|training\.png|samples/[\w.-]+\.(?:mp4|png|webp)"
FILE = re.compile(rf"^(?:{_SHOWN})$")
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {"md": "text/plain; charset=utf-8", "png": "image/png", "webp": "image/webp", "mp4": "video/mp4"}
)
_IN_CHECKPOINT = re.compile(rf"/checkpoints/step-(\d+)/(meta\.json|{_SHOWN})$")


@dataclass(frozen=True, slots=True)
class Curves:
    """Means over stretches of steps, each told by its last; None for what was no number."""

    step: list[int]
    values: dict[str, list[float | None]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint, and those of its files that people look at."""

    step: int
    files: list[str]


class Run:
    """Looks into a run's folder. MissingObject where there is none."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def curves(self) -> Curves:
        """What each step noted, the newest line of a step counting, thinned to what a screen shows."""
        lines: dict[int, dict[str, float]] = {}
        for item in storage.list_objects(storage.join(self._uri, "metrics")):
            if item.uri.endswith(".jsonl"):
                for text in storage.read_bytes(item.uri).decode().splitlines():
                    line = json.loads(text)
                    lines[line["step"]] = line
        steps = sorted(lines)
        long = max(1, math.ceil(len(steps) / POINTS))
        stretches = [steps[start : start + long] for start in range(0, len(steps), long)]
        values = {
            name: [_mean([lines[step].get(name) for step in stretch]) for stretch in stretches] for name in CURVES
        }
        return Curves([stretch[-1] for stretch in stretches], values)

    def checkpoints(self) -> list[Checkpoint]:
        """The whole ones, newest first."""
        files: dict[int, list[str]] = {}
        for item in storage.list_objects(storage.join(self._uri, "checkpoints")):
            if match := _IN_CHECKPOINT.search(item.uri):
                files.setdefault(int(match[1]), []).append(match[2])
        whole = {step: names for step, names in files.items() if "meta.json" in names}
        return [Checkpoint(step, sorted({*whole[step]} - {"meta.json"})) for step in sorted(whole, reverse=True)]

    def file(self, step: int, name: str) -> str:
        """Where a checkpoint's file is. MissingObject for what people don't look at."""
        if not FILE.match(name):
            raise MissingObject(f"{name} is not shown: a card, a curve or a sample is")
        return storage.join(self._uri, "checkpoints", f"step-{step}", *name.split("/"))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(known) / len(known) if known else None
