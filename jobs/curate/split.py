"""Shots to clips: long ones divided, short ones left over."""

import math
from dataclasses import dataclass

from sora_core.shapes import Compression

# Rounding of float arithmetic on times, in frames.
_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class Span:
    """``frames`` ticks of a clip's clock from ``start_s`` on."""

    start_s: float
    end_s: float
    frames: int


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
