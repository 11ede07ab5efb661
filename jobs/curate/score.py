"""Scores, measured on frames while they pass by once.

sharpness   variance of luma's Laplacian over the variance of luma: the share of fine detail, whatever the contrast
luma        mean luma, 0 to 255
contrast    standard deviation of luma
motion      mean optical flow, in percent of the frame's diagonal a second
frozen      share of frames that are equal to the one before
bars        share of the picture that is black bars, which come in pairs, in every sampled frame; they are cut off
shake       how far the picture's way strays from its moving mean, in percent of the diagonal (`steadiness`)
blockiness  share of steps between pixels that stand out along the grid of a codec's blocks (`blocks`)
duplicated  share of frames that are equal to the one before between others that aren't: another rate by repetition
text        share of the picture that words cover (`models`, as are those below)
indecency   probability, of the second most suspicious look
aesthetic   mean of what the model gives
watermark   mean of what the model gives
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np

from jobs.curate.blocks import blockiness
from jobs.curate.borders import Borders, bars_of, black_borders, covered
from jobs.curate.describe import Movement, colour_shares, describe, movement
from jobs.curate.models import ImageModel
from jobs.curate.rows import Scores
from jobs.curate.steadiness import shake, shift
from sora_core.media import Frame, StillFrame

# Height of the frames that every frame is looked at in, and of those that samples are taken from.
SMALL_HEIGHT = 72
SAMPLE_HEIGHT = 192
# Frames that the costlier scores look at: flow between neighbours this often, the rest likewise.
_SAMPLES_PER_S = 4.0
# Frames that models, and what needs every stored pixel, look at.
_LOOKS_PER_S = 1.0
# Mean absolute difference of luma under which two frames count as one; re-encoded duplicates stay below it.
_FROZEN_DIFFERENCE = 0.1
# A longer run of equal frames is a still picture, no duplicate.
_DUPLICATES_S = 0.2
# Rounding of frame times.
_TIME_SLACK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Sample:
    """What one sampled frame measured."""

    time_s: float
    sharpness: float | None
    luma: float
    contrast: float
    motion: float | None
    borders: Borders | None
    colours: np.ndarray
    movement: Movement | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a closer look at a frame gave: scores by name."""

    time_s: float
    scores: Mapping[str, float]


T = TypeVar("T", Sample, Look)


@dataclass(slots=True)
class Meter:
    """Measures frames one by one; keeps numbers, and one frame for the next difference."""

    models: Mapping[str, ImageModel] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    repeats: bytearray = field(default_factory=bytearray)
    shifts: "array[float]" = field(default_factory=lambda: array("f"))
    _previous: tuple[Frame, np.ndarray] | None = None
    _flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )

    def add(self, frame: Frame) -> None:
        """The next frame."""
        small = cv2.cvtColor(frame.rgb(SMALL_HEIGHT), cv2.COLOR_RGB2GRAY)
        repeats, moved = False, (0.0, 0.0)
        if self._previous:
            repeats = bool(cv2.absdiff(small, self._previous[1]).mean() < _FROZEN_DIFFERENCE)
            moved = (0.0, 0.0) if repeats else shift(self._previous[1], small)
        if _due(self.samples, frame.time_s, _SAMPLES_PER_S):
            self.samples.append(self._sample(frame, repeats))
        if _due(self.looks, frame.time_s, _LOOKS_PER_S):
            self.looks.append(self._look(frame))
        self.times_s.append(frame.time_s)
        self.repeats.append(repeats)
        self.shifts.extend(moved)
        self._previous = frame, small

    def _sample(self, frame: Frame, repeats: bool) -> Sample:
        pixels = frame.rgb(SAMPLE_HEIGHT)
        luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        motion, moved = self._motion(frame.time_s, luma, repeats)
        return _measure(frame.time_s, pixels, luma, motion, moved)

    def _motion(self, time_s: float, luma: np.ndarray, repeats: bool) -> tuple[float | None, Movement | None]:
        """Mean flow since the last frame, and what of it is the camera's."""
        elapsed_s = time_s - self.times_s[-1] if self.times_s else 0.0
        if self._previous is None or elapsed_s <= 0:
            return None, None
        if repeats:
            return 0.0, Movement(0.0, 0.0, 0.0, 0.0, 0.0)
        before = cv2.cvtColor(self._previous[0].rgb(SAMPLE_HEIGHT), cv2.COLOR_RGB2GRAY)
        flow = self._flow.calc(before, luma, None)
        diagonal = math.hypot(*luma.shape)
        motion = float(np.hypot(flow[..., 0], flow[..., 1]).mean()) / diagonal * 100 / elapsed_s
        return motion, movement(flow, elapsed_s)

    def _look(self, frame: Frame) -> Look:
        blocks = blockiness(frame.stored_luma())
        scores = {name: model.score(frame) for name, model in self.models.items()}
        return Look(frame.time_s, scores if blocks is None else scores | {"blockiness": blocks})

    def scores(self, start_s: float, end_s: float) -> Scores:
        """The scores of a span. A span between two samples takes the nearest."""
        samples, looks = _inside(self.samples, start_s, end_s), _inside(self.looks, start_s, end_s)
        if not samples:
            return Scores()
        # The first frame of a span has no neighbour in it to be equal to, or to have moved from.
        first, last = bisect_right(self.times_s, start_s), bisect_left(self.times_s, end_s)
        return Scores(
            sharpness=_mean(sample.sharpness for sample in samples),
            luma=_mean(sample.luma for sample in samples),
            contrast=_mean(sample.contrast for sample in samples),
            motion=_mean(sample.motion for sample in samples),
            frozen=_mean(self.repeats[first:last]),
            bars=covered(self.bars(start_s, end_s)),
            shake=self._shake(first, last),
            blockiness=_mean(_said(looks, "blockiness")),
            duplicated=self._duplicated(first, last),
            text=_mean(_said(looks, "text")),
            indecency=_second(_said(looks, "indecency")),
            aesthetic=_mean(_said(looks, "aesthetic")),
            watermark=_mean(_said(looks, "watermark")),
        )

    def bars(self, start_s: float, end_s: float) -> Borders:
        """The black bars of a span's every sampled frame."""
        return bars_of([sample.borders for sample in _inside(self.samples, start_s, end_s) if sample.borders])

    def describe(self, start_s: float, end_s: float) -> tuple[str, str]:
        """A long and a short caption of a span."""
        inside = _inside(self.samples, start_s, end_s)
        movements = [sample.movement for sample in inside if sample.movement]
        luma = _mean(sample.luma for sample in inside)
        return describe([sample.colours for sample in inside], movements, luma, end_s - start_s)

    def _shake(self, first: int, last: int) -> float | None:
        if last - first < 2:
            return None
        fps = (last - first - 1) / max(self.times_s[last - 1] - self.times_s[first], _TIME_SLACK_S)
        return shake(np.reshape(self.shifts[2 * first : 2 * last], (-1, 2)), fps)

    def _duplicated(self, first: int, last: int) -> float | None:
        """Equal frames in runs too short to be a still picture, as a share of all."""
        duplicates, begun = 0, first
        for number in range(first, last + 1):
            if number < last and self.repeats[number]:
                continue
            if number > begun and self.times_s[number - 1] - self.times_s[begun - 1] < _DUPLICATES_S:
                duplicates += number - begun
            begun = number + 1
        return duplicates / (last - first) if last > first else None


def _due(done: Sequence[Sample] | Sequence[Look], time_s: float, per_s: float) -> bool:
    return not done or time_s - done[-1].time_s >= 1 / per_s - _TIME_SLACK_S


def _inside(found: list[T], start_s: float, end_s: float) -> list[T]:
    """Those of a span, or the one nearest to it."""
    first, last = (bisect_left(found, time_s, key=lambda item: item.time_s) for time_s in (start_s, end_s))
    if first < last or not found:
        return found[first:last]
    return [min(found[max(0, first - 1) : first + 1], key=lambda item: abs(item.time_s - start_s))]


def look_at_image(frame: np.ndarray, models: Mapping[str, ImageModel] | None = None) -> Meter:
    """What a photograph ``(h, w, 3)`` measures; motion is unknown."""
    meter = Meter(models or {})
    meter.add(StillFrame(0.0, frame))
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
        borders=black_borders(luma),
        colours=colour_shares(frame),
        movement=moved,
    )


def _said(looks: Iterable[Look], name: str) -> list[float]:
    return [look.scores[name] for look in looks if name in look.scores]


def _second(values: Sequence[float]) -> float | None:
    """The second largest, for one look may err; the only one where there is no other."""
    return sorted(values)[-2:][0] if values else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
