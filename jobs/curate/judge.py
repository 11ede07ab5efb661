"""Verdicts from scores: pure, so that thresholds can change without looking at a pixel again."""

from collections.abc import Callable

from jobs.curate.config import Thresholds
from jobs.curate.rows import Scores

Rule = Callable[[Scores, Thresholds], bool]


def _below(score: float | None, least: float) -> bool:
    return score is not None and score < least


def _above(score: float | None, most: float) -> bool:
    return score is not None and score > most


# In the order of judgement: exposure first, since a black picture is also flat, blurred and still.
RULES: tuple[tuple[str, Rule], ...] = (
    ("too_dark", lambda scores, limits: _below(scores.luma, limits.min_luma)),
    ("too_bright", lambda scores, limits: _above(scores.luma, limits.max_luma)),
    ("flat", lambda scores, limits: _below(scores.contrast, limits.min_contrast)),
    ("blurred", lambda scores, limits: _below(scores.sharpness, limits.min_sharpness)),
    ("frozen", lambda scores, limits: _above(scores.frozen, limits.max_frozen)),
    ("too_still", lambda scores, limits: _below(scores.motion, limits.min_motion)),
    ("too_fast", lambda scores, limits: _above(scores.motion, limits.max_motion)),
)


def judge(scores: Scores, thresholds: Thresholds) -> str | None:
    """The first reason to drop a clip; None keeps it. An unknown score is no reason."""
    return next((reason for reason, applies in RULES if applies(scores, thresholds)), None)
