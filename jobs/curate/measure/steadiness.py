"""Camera shake: how far the picture's way strays from its own moving mean."""

import math
from functools import lru_cache

import cv2
import numpy as np

# The moving mean's width: what is slower is a pan, what is faster a tremble.
_MEAN_S = 0.3
_FEWEST = 3
# Responses of phase correlation: up to the first nothing moved as a whole (a ball rolls over a lawn), from the second
# on all of it did. On real footage that was shaken, 99 % are above .5.
_NO_WHOLE, _WHOLE = 0.2, 0.5


@lru_cache(maxsize=4)
def _window(width: int, height: int) -> np.ndarray:
    window: np.ndarray = cv2.createHanningWindow((width, height), cv2.CV_32F)
    return window


def shift(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """How far the whole picture moved between two uint8 ``(h, w)`` frames, right and down in percent of the diagonal,
    by phase correlation; less of it the less the picture moved as a whole."""
    height, width = after.shape
    if min(height, width) < 2:
        return 0.0, 0.0
    window = _window(width, height)
    (right, down), response = cv2.phaseCorrelate(before.astype(np.float32), after.astype(np.float32), window)
    trust = min(1.0, max(0.0, (response - _NO_WHOLE) / (_WHOLE - _NO_WHOLE)))
    scale = trust * 100 / math.hypot(height, width)
    return right * scale, down * scale


def shake(shifts: np.ndarray, fps: float) -> float | None:
    """The median distance between the summed-up shifts ``(n, 2)`` and their moving mean, in percent of the diagonal.

    The median forgives a lost track. None of too short a span."""
    width = max(_FEWEST, round(_MEAN_S * fps) | 1)
    if len(shifts) < 2 * width:
        return None
    way = np.cumsum(shifts, axis=0)
    mean = np.stack([np.convolve(axis, np.full(width, 1 / width), "valid") for axis in way.T], axis=1)
    strayed = way[width // 2 : len(way) - width // 2] - mean
    return float(np.median(np.hypot(*strayed.T)))
