"""Black bars: measured on each looked-at frame, and cut off where they come in pairs in all of them."""

import numpy as np

Borders = tuple[float, float, float, float]
"""Shares of the height at top and bottom, of the width at left and right."""

# Luma up to which a border counts as black; limited-range black with coding noise stays below it.
_BLACK = 24
# The thinnest bar, as a share of its side, and how far two of a pair may differ, as a share of the larger.
_LEAST_BAR = 0.015
_UNLIKE_BARS = 0.25


def black_borders(luma: np.ndarray) -> Borders | None:
    """What is black at the edges of uint8 ``(h, w)``; None of a black picture."""
    rows, columns = luma.max(axis=1) > _BLACK, luma.max(axis=0) > _BLACK
    if not rows.any():
        return None
    top, bottom = int(rows.argmax()), int(rows[::-1].argmax())
    left, right = int(columns.argmax()), int(columns[::-1].argmax())
    return top / len(rows), bottom / len(rows), left / len(columns), right / len(columns)


def bars_of(found: list[Borders]) -> Borders:
    """What is bar in every one of some frames. Bars come in pairs: a dark sky is none."""
    top, bottom, left, right = np.min(found, axis=0).tolist() if found else (0.0,) * 4
    return (*_pair(top, bottom), *_pair(left, right))


def covered(borders: Borders) -> float:
    """The share of the picture that bars cover."""
    top, bottom, left, right = borders
    return 1 - (1 - top - bottom) * (1 - left - right)


def _pair(first: float, second: float) -> tuple[float, float]:
    """Both bars, or none where they are too thin to be bars or too unlike to be a pair."""
    if min(first, second) < _LEAST_BAR or abs(first - second) > _UNLIKE_BARS * max(first, second):
        return 0.0, 0.0
    return first, second
