"""Scores, measured on frames while they pass by once.

sharpness   variance of luma's Laplacian over the variance of luma: the share of fine detail, whatever the contrast
luma        mean luma, 0 to 255
contrast    standard deviation of luma
motion      mean optical flow, in percent of the frame's diagonal a second
frozen      share of the clip's frames, at its own rate, that are equal to the one before
bars        share of the picture that is black bars, which come in pairs, in every sampled frame; they are cut off
shake       how far the picture's way strays from its moving mean, in percent of the diagonal (`steadiness`)
blockiness  share of steps between pixels that stand out along the grid of a codec's blocks (`blocks`)
quantiser   mean quantiser of an H.264 file, 0 to 51: its filter smooths blocks away, what they cost stays lost
duplicated  share of the clip's frames that are equal to the one before between others that aren't: another rate by
            repetition
text        share of the picture that words cover (`models`, as are those below)
indecency   probability, of the second most suspicious look
aesthetic   mean of what the model gives
watermark   mean of what the model gives
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import cv2
import numpy as np

from jobs.curate.measure.blocks import blockiness
from jobs.curate.measure.borders import Borders, bars_of, black_borders, covered
from jobs.curate.measure.describe import COLOURS, Movement, colour_shares, describe, movement
from jobs.curate.measure.models import ImageModel
from jobs.curate.measure.steadiness import shake, shift
from jobs.curate.measure.track import Track, known
from jobs.curate.rows import Scores
from sora_core.media import Frame, StillFrame, resample

# Height of the frames that every frame is looked at in, and of those that samples are taken from.
SMALL_HEIGHT = 72
SAMPLE_HEIGHT = 192
# Rounding of frame times.
_TIME_SLACK_S = 1e-6
# Frames that the costlier scores look at: flow between neighbours this often, the rest likewise.
_SAMPLE_EVERY_S = 0.25 - _TIME_SLACK_S
# Frames that models, and what needs every stored pixel, look at.
_LOOK_EVERY_S = 1.0 - _TIME_SLACK_S
# Mean absolute difference of luma under which two frames count as one; re-encoded duplicates stay below it.
_FROZEN_DIFFERENCE = 0.1
# A longer run of equal frames is a still picture, no duplicate.
_DUPLICATES_S = 0.2


def _samples() -> Track:
    """What the frames of `_SAMPLE_EVERY_S` measured."""
    vectors = ("borders", 4), ("colours", len(COLOURS)), ("movement", len(Movement._fields))
    return Track("sharpness", "luma", "contrast", "motion", *vectors)


def _looks() -> Track:
    """What a closer look at a frame gave."""
    return Track("blockiness", "quantiser", "text", "indecency", "aesthetic", "watermark")


@dataclass(slots=True)
class Meter:
    """Measures frames one by one; keeps numbers, and one frame for the next difference.

    A frame leaves 17 bytes, a sample and a look some 200 and 50.
    """

    models: Mapping[str, ImageModel] = field(default_factory=dict)
    max_fps: float | None = None
    samples: Track = field(default_factory=_samples)
    looks: Track = field(default_factory=_looks)
    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    repeats: bytearray = field(default_factory=bytearray)
    shifts: "array[float]" = field(default_factory=lambda: array("f"))
    _previous: Frame | None = None
    _flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )

    def add(self, frame: Frame) -> None:
        """The next frame."""
        repeats, moved = False, (0.0, 0.0)
        if self._previous and self._previous.grey(SMALL_HEIGHT).shape != frame.grey(SMALL_HEIGHT).shape:
            self._previous = None  # of another shape, and so of another shot
        if self._previous:
            before, now = self._previous.grey(SMALL_HEIGHT), frame.grey(SMALL_HEIGHT)
            repeats = cv2.norm(now, before, cv2.NORM_L1) < _FROZEN_DIFFERENCE * now.size
            moved = (0.0, 0.0) if repeats else shift(before, now)
        if self.samples.is_due(frame.time_s, _SAMPLE_EVERY_S):
            self._sample(frame, repeats)
        if self.looks.is_due(frame.time_s, _LOOK_EVERY_S):
            self._look(frame)
        self.times_s.append(frame.time_s)
        self.repeats.append(repeats)
        self.shifts.extend(moved)
        self._previous = frame

    def _sample(self, frame: Frame, repeats: bool) -> None:
        luma = frame.grey(SAMPLE_HEIGHT)
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(luma))
        motion, moved = self._motion(frame, repeats)
        self.samples.add(
            frame.time_s,
            sharpness=_sharpness(luma, deviation),
            luma=mean,
            contrast=deviation,
            motion=motion,
            borders=black_borders(luma),
            colours=colour_shares(frame.rgb(SAMPLE_HEIGHT)),
            movement=moved,
        )

    def _motion(self, frame: Frame, repeats: bool) -> tuple[float | None, Movement | None]:
        """Mean flow since the last frame, and what of it is the camera's."""
        elapsed_s = frame.time_s - self.times_s[-1] if self.times_s else 0.0
        if self._previous is None or elapsed_s <= 0:
            return None, None
        if repeats:
            return 0.0, Movement(0.0, 0.0, 0.0, 0.0, 0.0)
        flow = self._flow.calc(self._previous.grey(SAMPLE_HEIGHT), frame.grey(SAMPLE_HEIGHT), None)
        length = cv2.magnitude(flow[..., 0], flow[..., 1])
        return float(length.mean()) / math.hypot(*length.shape) * 100 / elapsed_s, movement(flow, elapsed_s)

    def _look(self, frame: Frame) -> None:
        scores = {name: model.score(frame) for name, model in self.models.items()}
        blocks = blockiness(frame.stored_luma())
        self.looks.add(frame.time_s, blockiness=blocks, quantiser=frame.quantiser(), **scores)

    def scores(self, start_s: float, end_s: float, fps: float | None = None) -> Scores:
        """The scores of a clip, at the file's own rate by default. A span between two samples takes the nearest."""
        samples, looks = self.samples.inside(start_s, end_s), self.looks.inside(start_s, end_s)
        if not len(samples):
            return Scores()
        times_s, repeats = self._shown(start_s, end_s, fps)
        return Scores(
            sharpness=_mean(samples["sharpness"]),
            luma=_mean(samples["luma"]),
            contrast=_mean(samples["contrast"]),
            motion=_mean(samples["motion"]),
            frozen=_mean(repeats),
            bars=covered(self.bars(start_s, end_s)),
            shake=self._shake(start_s, end_s),
            blockiness=_mean(looks["blockiness"]),
            quantiser=_mean(looks["quantiser"]),
            duplicated=_duplicated(times_s, repeats),
            text=_mean(looks["text"]),
            indecency=_second(looks["indecency"]),
            aesthetic=_mean(looks["aesthetic"]),
            watermark=_mean(looks["watermark"]),
        )

    def bars(self, start_s: float, end_s: float) -> Borders:
        """The black bars of a span's every sampled frame."""
        return bars_of(list(known(self.samples.inside(start_s, end_s)["borders"])))

    def describe(self, start_s: float, end_s: float) -> tuple[str, str]:
        """A long and a short caption of a span."""
        inside = self.samples.inside(start_s, end_s)
        movements = [Movement(*values) for values in known(inside["movement"]).tolist()]
        return describe(list(inside["colours"]), movements, _mean(inside["luma"]), end_s - start_s)

    def _shake(self, start_s: float, end_s: float) -> float | None:
        # The first frame of a span has no neighbour in it to have moved from.
        first, last = bisect_right(self.times_s, start_s), bisect_left(self.times_s, end_s)
        if last - first < 2:
            return None
        fps = (last - first - 1) / max(self.times_s[last - 1] - self.times_s[first], _TIME_SLACK_S)
        return shake(np.reshape(self.shifts[2 * first : 2 * last], (-1, 2)), fps)

    def _shown(self, start_s: float, end_s: float, fps: float | None) -> tuple[Sequence[float], np.ndarray]:
        """Times of the frames that a clip shows, and whether each but the first is equal to the one before."""
        first, last = max(0, bisect_right(self.times_s, start_s) - 1), bisect_left(self.times_s, end_s)
        times_s: Sequence[float] = self.times_s[first:last]
        pictures = list(accumulate(not repeats for repeats in self.repeats[first:last]))
        if fps is not None and len(pictures) > 1:
            # As a decoder takes frames: of the file's densest rate, where that is known.
            source_fps = self.max_fps or (len(pictures) - 1) / max(times_s[-1] - times_s[0], _TIME_SLACK_S)
            pictures = list(resample(zip(times_s, pictures, strict=True), start_s, end_s, fps, source_fps))
            times_s = [start_s + tick / fps for tick in range(len(pictures))]
        return times_s, np.diff(pictures) == 0


def _duplicated(times_s: Sequence[float], repeats: np.ndarray) -> float | None:
    """Equal frames in runs too short to be a still picture, as a share of all but the first, which has none before."""
    duplicates, begun = 0, 0
    for number, repeat in enumerate([*repeats, False]):
        if repeat:
            continue
        if number > begun and times_s[number] - times_s[begun] < _DUPLICATES_S:
            duplicates += number - begun
        begun = number + 1
    return duplicates / len(repeats) if len(repeats) else None


def look_at_image(frame: np.ndarray, models: Mapping[str, ImageModel] | None = None) -> Meter:
    """What a photograph ``(h, w, 3)`` measures; motion is unknown."""
    meter = Meter(models or {})
    meter.add(StillFrame(0.0, frame))
    return meter


def _sharpness(luma: np.ndarray, deviation: float) -> float | None:
    """A plain picture has no detail to be sharp or blurred."""
    if deviation < 1:
        return None
    _, detail = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    return (float(detail[0, 0]) / deviation) ** 2


def _second(values: np.ndarray) -> float | None:
    """The second largest, for one look may err; the only one where there is no other."""
    found = np.sort(known(values))[-2:]
    return float(found[0]) if len(found) else None


def _mean(values: np.ndarray) -> float | None:
    found = known(values)
    return float(found.mean()) if len(found) else None
