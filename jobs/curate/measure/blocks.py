"""Blockiness: how many steps between neighbouring pixels stand out along the grid of a codec's blocks."""

import cv2
import numpy as np

# Every codec's grid of transforms, in stored pixels.
_BLOCK = 8
# Below this a scene's own edges lie on the grid by chance, or on purpose in made pictures.
_LEAST_SIDE = 112
# Grey levels by which a step must exceed those beside it; coding noise is below.
_STANDS_OUT = 1


def blockiness(luma: np.ndarray) -> float | None:
    """The share of steps that stand out from those on both sides along the grid, less that share elsewhere, of stored
    uint8 ``(h, w)``. None of pictures too small to tell."""
    if min(luma.shape) < _LEAST_SIDE:
        return None
    # A grid goes both ways; stripes of a scene may lie on it in one.
    return min(_across(luma), _across(np.ascontiguousarray(luma.T)))


def _across(luma: np.ndarray) -> float:
    """The same for steps from left to right."""
    steps = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    beside = cv2.add(cv2.max(steps[:, :-2], steps[:, 2:]), _STANDS_OUT)
    stands_out = cv2.compare(steps[:, 1:-1], beside, cv2.CMP_GT) & 1
    share = cv2.reduce(stands_out, 0, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[0]
    by_phase = share[: len(share) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=0)
    return float(by_phase.max() - np.median(by_phase))
