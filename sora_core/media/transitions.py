"""Gradual transitions on small grey pictures: a dissolve's middle is the mean of what lies before and behind it."""

from dataclasses import dataclass

import cv2
import numpy as np

# Times before and after a frame at which it is compared; a dissolve of up to four times as long shows in one of them.
_REACHES_S = (0.25, 0.5, 0.9)
_MIN_REACH, MAX_REACH = 3, 100
# Two pictures that differ by fewer grey levels, or that correlate more, are one scene.
_LEAST_CHANGE = 10.0
_MOST_ALIKE = 0.6
# How far the middle may be from the mean, as a share of the change; half of it at a cut, more where things move.
_SURE_BEND, _POSSIBLE_BEND = 0.1, 0.4
# Above this response of phase correlation one picture is the other, moved.
_SHIFTED = 0.3
# The largest share of the change that happens from one frame to the next; more is a cut.
_LARGEST_STEP = 0.45
# Shares of the change at which a dissolve begins and ends, by eye.
_BEGUN, _OVER = 0.06, 0.94


@dataclass(frozen=True, slots=True)
class Transition:
    """Frames from ``first`` on belong to no shot, those from ``last`` on to the next one; a cut has both alike."""

    first: int
    last: int
    is_sure: bool

    def merged(self, other: "Transition") -> "Transition":
        """Both as one."""
        return Transition(min(self.first, other.first), max(self.last, other.last), self.is_sure or other.is_sure)


def reaches(fps: float) -> tuple[int, ...]:
    """The reaches in frames."""
    return tuple(min(MAX_REACH, max(_MIN_REACH, round(reach_s * fps))) for reach_s in _REACHES_S)


def differ(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two pictures are no one scene: the cheap question, asked of every frame."""
    return bool(cv2.norm(after, before, cv2.NORM_L1) >= _LEAST_CHANGE * after.size)


def may_dissolve(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> bool:
    """Whether one picture is much of a mean of two others, uint8 or float."""
    change = cv2.norm(after, before, cv2.NORM_L1)
    bend = cv2.norm(
        cv2.addWeighted(before, 0.5, after, 0.5, 0, dtype=cv2.CV_32F), middle.astype(np.float32), cv2.NORM_L1
    )
    return bool(bend < _POSSIBLE_BEND * change)


def dissolve_at(pictures: np.ndarray, first: int) -> Transition | None:
    """The dissolve whose middle is the middle of float ``(2 * reach + 1, h, w)`` grey pictures, numbered from ``first``
    on. None where there is none: a shift by any motion bends away from the mean."""
    reach = len(pictures) // 2
    before, middle, after = pictures[0], pictures[reach], pictures[-1]
    if not may_dissolve(before, middle, after) or _correlation(before, after) > _MOST_ALIKE:
        return None
    bend = float(np.abs(2 * middle - before - after).sum() / (2 * np.abs(after - before).sum()))
    direction = after - before
    shares = np.einsum("thw,hw->t", pictures - before, direction) / float((direction * direction).sum())
    if np.abs(np.diff(shares)).max() > _LARGEST_STEP:
        return None
    begun, left = int(np.argmax(shares > _BEGUN)), int(np.argmax(shares[::-1] < _OVER))
    # Soft pictures that a camera pans over pass the test of the mean, too.
    is_sure = bend < _SURE_BEND and not is_shifted(before, after)
    return Transition(first + begun, first + 2 * reach - left + 1, is_sure)


def is_shifted(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether one grey picture is the other, moved."""
    window = cv2.createHanningWindow((before.shape[1], before.shape[0]), cv2.CV_32F)
    return cv2.phaseCorrelate(np.ascontiguousarray(before), np.ascontiguousarray(after), window)[1] > _SHIFTED


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one - one.mean()) * (other - other.mean())).mean() / (max(one.std(), 1) * max(other.std(), 1)))
