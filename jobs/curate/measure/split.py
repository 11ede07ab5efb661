"""Shots to clips: long ones divided, short ones left over."""

import math
from dataclasses import dataclass

from sora_core.shapes import Compression, fit_area

# Rounding of float arithmetic on times, in frames.
_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class Span:
    """``frames`` ticks of a clip's clock from ``start_s`` on."""

    start_s: float
    end_s: float
    frames: int


@dataclass(frozen=True, slots=True)
class Cut:
    """How a frame reaches its stored size: scaled to ``scaled_*``, then ``height x width`` cut out at ``top, left``."""

    height: int
    width: int
    scaled_height: int
    scaled_width: int
    top: int
    left: int


def cut_out(height: int, width: int, bars: tuple[float, float, float, float], max_area: int) -> Cut:
    """The picture between black bars (shares of the height at top and bottom, of the width at left and right), by the
    pixel rule. InputError when it is too small."""
    top, bottom, left, right = bars
    inner_height, inner_width = round(height * (1 - top - bottom)), round(width * (1 - left - right))
    fit = fit_area(inner_height, inner_width, max_area)
    down, across = fit.scaled_height / inner_height, fit.scaled_width / inner_width
    return Cut(
        fit.height,
        fit.width,
        max(fit.scaled_height, round(height * down)),
        max(fit.scaled_width, round(width * across)),
        math.ceil(height * top * down) + (fit.scaled_height - fit.height) // 2,
        math.ceil(width * left * across) + (fit.scaled_width - fit.width) // 2,
    )


def divide(start_s: float, end_s: float, fps: float, max_frames: int, min_frames: int) -> list[Span]:
    """Clips of ``max_frames`` one after another, and the rest as a shorter clip where it reaches ``min_frames``.

    A shot below ``min_frames`` comes back as one span with the frames that it has, for the judge to drop. Frames of
    a clip are 4k + 1, so up to three frames at the end of a shot are left out.
    """
    available = max(1, math.floor((end_s - start_s) * fps + _SLACK))
    if available < min_frames:
        return [Span(start_s, end_s, available)]
    spans = []
    for first in range(0, available, max_frames):
        frames = Compression().trim_frames(min(max_frames, available - first))
        if frames >= min_frames:
            spans.append(Span(start_s + first / fps, start_s + (first + frames) / fps, frames))
    return spans
