"""Cheap scores, measured on small frames while they pass by once.

sharpness   variance of luma's Laplacian over the variance of luma: the share of fine detail, whatever the contrast
luma        mean luma, 0 to 255
contrast    standard deviation of luma
motion      mean optical flow, in percent of the frame's diagonal a second
frozen      share of frames that are equal to the one before
bars        share of the picture that is black bars, which come in pairs, in every sampled frame; they are cut off
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from jobs.curate.describe import Movement, colour_shares, describe, movement
from jobs.curate.rows import Scores

# Height of the frames that the scores are defined on.
ANALYSIS_HEIGHT = 192
# Frames that the costlier scores look at: flow between neighbours this often, the rest likewise.
_SAMPLES_PER_S = 4.0
# Mean absolute difference of luma under which two frames count as one; re-encoded duplicates stay below it.
_FROZEN_DIFFERENCE = 0.15
# Luma up to which a border counts as black; limited-range black with coding noise stays below it.
_BLACK = 24
# The thinnest bar, as a share of its side, and how far two of a pair may differ, as a share of the larger.
_LEAST_BAR = 0.015
_UNLIKE_BARS = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """What one looked-at frame measured."""

    time_s: float
    sharpness: float | None
    luma: float
    contrast: float
    motion: float | None
    borders: tuple[float, float, float, float] | None
    colours: np.ndarray
    movement: Movement | None


@dataclass(slots=True)
class Meter:
    """Measures frames one by one; keeps numbers, and one frame for the next difference."""

    samples: list[Sample] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    frozen: list[bool] = field(default_factory=list)
    _previous: np.ndarray | None = None
    _flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame, uint8 RGB ``(h, w, 3)``."""
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        same = self._previous is not None and cv2.absdiff(luma, self._previous).mean() < _FROZEN_DIFFERENCE
        due = not self.samples or time_s - self.samples[-1].time_s >= 1 / _SAMPLES_PER_S
        if due:
            motion, moved = self._motion(time_s, luma, same)
            self.samples.append(_measure(time_s, frame, luma, motion, moved))
        self.times_s.append(time_s)
        self.frozen.append(bool(same))
        self._previous = luma

    def _motion(self, time_s: float, luma: np.ndarray, same: bool) -> tuple[float | None, Movement | None]:
        """Mean flow since the last frame, and what of it is the camera's."""
        elapsed_s = time_s - self.times_s[-1] if self.times_s else 0.0
        if self._previous is None or elapsed_s <= 0:
            return None, None
        if same:
            return 0.0, Movement(0.0, 0.0, 0.0, 0.0, 0.0)
        flow = self._flow.calc(self._previous, luma, None)
        diagonal = math.hypot(*luma.shape)
        motion = float(np.hypot(flow[..., 0], flow[..., 1]).mean()) / diagonal * 100 / elapsed_s
        return motion, movement(flow, elapsed_s)

    def scores(self, start_s: float, end_s: float) -> Scores:
        """The scores of a span. A span between two samples takes the nearest."""
        inside = self._inside(start_s, end_s)
        if not inside:
            return Scores()
        motions = [sample.motion for sample in inside if sample.motion is not None]
        # The first frame of a span has no neighbour in it to be equal to.
        frozen = self.frozen[bisect_right(self.times_s, start_s) : bisect_left(self.times_s, end_s)]
        return Scores(
            sharpness=_mean([sample.sharpness for sample in inside if sample.sharpness is not None]),
            luma=_mean([sample.luma for sample in inside]),
            contrast=_mean([sample.contrast for sample in inside]),
            motion=_mean(motions),
            frozen=_mean(frozen),
            bars=_covered(self.bars(start_s, end_s)),
        )

    def bars(self, start_s: float, end_s: float) -> tuple[float, float, float, float]:
        """Share of the height that is black bar at the top and bottom of a span's every frame, of the width at the
        left and right. Bars come in pairs: a dark sky is none."""
        found = [sample.borders for sample in self._inside(start_s, end_s) if sample.borders]
        top, bottom, left, right = np.min(found, axis=0).tolist() if found else (0.0,) * 4
        return (*_pair(top, bottom), *_pair(left, right))

    def describe(self, start_s: float, end_s: float) -> tuple[str, str]:
        """A long and a short caption of a span."""
        inside = self._inside(start_s, end_s)
        movements = [sample.movement for sample in inside if sample.movement]
        luma = _mean([sample.luma for sample in inside])
        return describe([sample.colours for sample in inside], movements, luma, end_s - start_s)

    def _inside(self, start_s: float, end_s: float) -> list[Sample]:
        """The samples of a span, or the one nearest to it."""
        inside = self.samples[_first_at(self.samples, start_s) : _first_at(self.samples, end_s)]
        if inside or not self.samples:
            return inside
        return [min(self.samples, key=lambda sample: abs(sample.time_s - start_s))]


def _first_at(samples: list[Sample], time_s: float) -> int:
    return bisect_left(samples, time_s, key=lambda sample: sample.time_s)


def look_at_image(frame: np.ndarray) -> Meter:
    """What a photograph ``(h, w, 3)`` measures; motion is unknown."""
    scale = min(1.0, ANALYSIS_HEIGHT / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    meter = Meter()
    meter.add(0.0, cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return meter


def _measure(
    time_s: float, frame: np.ndarray, luma: np.ndarray, motion: float | None, moved: Movement | None
) -> Sample:
    mean, deviation = cv2.meanStdDev(luma)
    variance = float(deviation[0, 0]) ** 2
    return Sample(
        time_s=time_s,
        # A plain picture has no detail to be sharp or blurred.
        sharpness=float(cv2.Laplacian(luma, cv2.CV_32F).var()) / variance if variance >= 1 else None,
        luma=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        motion=motion,
        borders=_black_borders(luma),
        colours=colour_shares(frame),
        movement=moved,
    )


def _pair(first: float, second: float) -> tuple[float, float]:
    """Both bars, or none where they are too thin to be bars or too unlike to be a pair."""
    if min(first, second) < _LEAST_BAR or abs(first - second) > _UNLIKE_BARS * max(first, second):
        return 0.0, 0.0
    return first, second


def _black_borders(luma: np.ndarray) -> tuple[float, float, float, float] | None:
    """Share of the height or width that is black at the top, bottom, left and right; None of a black picture."""
    rows, columns = luma.max(axis=1) > _BLACK, luma.max(axis=0) > _BLACK
    if not rows.any():
        return None
    top, bottom = int(rows.argmax()), int(rows[::-1].argmax())
    left, right = int(columns.argmax()), int(columns[::-1].argmax())
    return top / len(rows), bottom / len(rows), left / len(columns), right / len(columns)


def _covered(borders: tuple[float, float, float, float]) -> float:
    top, bottom, left, right = borders
    return 1 - (1 - top - bottom) * (1 - left - right)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
