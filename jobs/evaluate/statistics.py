"""Hits and misses as proportions with their uncertainty."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

_Z = 1.959964  # 95 % of a normal distribution lies within so many deviations


@dataclass(frozen=True, slots=True)
class Proportion:
    """``hits`` of ``trials``."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        return self.hits / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the underlying probability (Wilson 1927)."""
        n, p = self.trials, self.value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


Hits = Mapping[str, bool]
"""Attribute -> whether one clip shows it as asked; attributes that the clip can't show are absent."""


def proportions(scores: Iterable[Hits], attributes: Sequence[str]) -> dict[str, Proportion]:
    """Attribute -> how many of the clips that could show it did; attributes that none could are absent."""
    scores = list(scores)
    counted = {name: [score[name] for score in scores if name in score] for name in attributes}
    return {name: Proportion(sum(hits), len(hits)) for name, hits in counted.items() if hits}
