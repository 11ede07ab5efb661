"""Where one camera take ends and the next begins: cuts, dissolves and fades, found while small frames pass by."""

from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise

import cv2
import numpy as np

from sora_core.media.cuts import CutFinder
from sora_core.media.transitions import (
    MAX_REACH,
    Transition,
    differ,
    dissolve_at,
    is_shifted,
    may_dissolve,
    reaches,
)

# Size of the pictures that transitions are judged on, and how many of them an arbiter sees.
THUMB_HEIGHT, THUMB_WIDTH = 27, 48
ARBITER_FRAMES = 100
# Frames kept: a transition is decided when none that overlaps it can come any more.
_KEPT = 4 * MAX_REACH
# Mean difference in grey levels across a cut that leaves no doubt; jolts of a shaken camera reach it, too.
_SURE_CUT = 35.0
# A flash: the picture is back within this time and to this share of the jump, which was mostly one of light.
_FLASH_S = 0.3
_IS_BACK = 0.35
_MOSTLY_LIGHT = 0.5
_LEAST_PROBABILITY = 0.5

Arbiter = Callable[[np.ndarray], np.ndarray]
"""uint8 RGB ``(ARBITER_FRAMES, THUMB_HEIGHT, THUMB_WIDTH, 3)`` to each frame's probability of being in a transition."""


class ShotFinder:
    """Shots of frames that pass by once; memory is bounded but for one number a frame.

    Cuts come from PySceneDetect's adaptive rule, dissolves and fades from `transitions`. What neither is sure of an
    ``arbiter`` decides; without one, cuts stand and dissolves don't. A flash is no cut.
    """

    def __init__(self, fps: float, arbiter: Arbiter | None = None, min_shot_frames: int = 6) -> None:
        self._cuts = CutFinder(min_shot_frames)
        self._arbiter = arbiter
        self._flash_frames = max(3, round(_FLASH_S * fps))
        self._reaches = reaches(fps)
        self._times_s = array("d")
        self._frames: list[np.ndarray] = []
        self._greys = np.zeros((_KEPT, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
        self._open: list[Transition] = []
        self._found: list[Transition] = []
        self._anew: list[int] = []

    def add(self, time_s: float, frame: np.ndarray, *, is_new: bool = False) -> None:
        """The next frame, uint8 RGB ``(h, w, 3)``; small is enough. With ``is_new`` a shot begins here however alike
        the pictures are."""
        number = len(self._times_s)
        if is_new:
            self._anew.append(number)
        self._times_s.append(time_s)
        self._greys[number % _KEPT] = _thumb(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        if self._arbiter:
            self._frames[number % _KEPT : number % _KEPT + 1] = [frame]
        # The adaptive rule compares a cut with what is beside it, and so overlooks some of many in a row.
        if number and self._jump(number) >= _SURE_CUT and not is_shifted(*self._pictures(number - 1, number + 1)):
            self._see(Transition(number, number, is_sure=True))
        cut = self._cuts.add(frame)
        if cut is not None:
            self._see(Transition(cut, cut, self._jump(cut) >= _SURE_CUT))
        for reach in self._reaches:
            self._compare(number, reach)
        self._decide(number - 2 * self._reaches[-1])

    def _compare(self, number: int, reach: int) -> None:
        """The newest frame with those one and two reaches before it."""
        first = number - 2 * reach
        if first < 0:
            return
        before, after = self._greys[first % _KEPT], self._greys[number % _KEPT]
        if not differ(before, after) or not may_dissolve(before, self._greys[(first + reach) % _KEPT], after):
            return
        dissolve = dissolve_at(self._pictures(first, number + 1), first)
        if dissolve:
            self._see(dissolve)

    def shots(self, frame_s: float) -> list[tuple[float, float]]:
        """``(start_s, end_s)`` of each shot, the last frame of which lasts ``frame_s``; transitions are left out."""
        self._decide(len(self._times_s))
        times_s = self._times_s + array("d", [self._times_s[-1] + frame_s] if self._times_s else [])
        starts = [0, *(item.last for item in self._found)]
        ends = [*(item.first for item in self._found), len(self._times_s)]
        shots = [
            (times_s[first], times_s[last])
            for start, end in zip(starts, ends, strict=True)
            for first, last in pairwise([start, *(number for number in self._anew if start < number < end), end])
            if first < last
        ]
        return shots or ([(times_s[0], times_s[-1])] if times_s else [])

    def _kept(self, first: int, end: int) -> np.ndarray:
        """Where the pictures of frames ``first`` to ``end`` lie; the nearest, of those before the film or after."""
        newest = len(self._times_s) - 1
        return np.clip(np.arange(first, end), max(0, newest - _KEPT + 1), newest) % _KEPT

    def _pictures(self, first: int, end: int) -> np.ndarray:
        """Grey thumbnails of some frames, float32 ``(end - first, h, w)``."""
        pictures: np.ndarray = self._greys[self._kept(first, end)].astype(np.float32)
        return pictures

    def _jump(self, cut: int) -> float:
        before, after = self._pictures(cut - 1, cut + 1)
        return float(np.abs(after - before).mean())

    def _see(self, seen: Transition) -> None:
        """One more transition, or one with those that it touches."""
        apart = []
        for item in self._open:
            if item.last < seen.first or seen.last < item.first:
                apart.append(item)
            else:
                seen = seen.merged(item)
        self._open = [*apart, seen]

    def _decide(self, until: int) -> None:
        """Settle the transitions that ended before frame ``until``."""
        done = [item for item in self._open if item.last < until]
        if done:
            self._open = [item for item in self._open if item.last >= until]
            self._found += sorted(filter(None, map(self._settled, done)), key=lambda item: item.first)

    def _settled(self, item: Transition) -> Transition | None:
        """A transition as it is, or as the arbiter sees it; None where it is none."""
        if item.first == item.last and self._is_flash(item.first):
            return None
        # A sky that slowly gets lighter looks like dissolve after dissolve.
        is_long = item.last - item.first > 2 * self._reaches[-1]
        if item.is_sure and not is_long:
            return item
        if self._arbiter is None:
            return item if item.first == item.last else None
        start = (item.first + item.last - ARBITER_FRAMES) // 2
        thumbs = [_thumb(self._frames[place]) for place in self._kept(start, start + ARBITER_FRAMES)]
        probability = self._arbiter(np.stack(thumbs))
        first = max(start, item.first - 2)
        inside = np.flatnonzero(probability[first - start : item.last - start + 3] >= _LEAST_PROBABILITY)
        if not len(inside):
            return None
        return Transition(first + int(inside[0]), first + int(inside[-1]) + 1, is_sure=True) if is_long else item

    def _is_flash(self, cut: int) -> bool:
        """Whether a flash begins or ends here: soon after, or soon before, the picture is as on the other side."""
        before, after, *later = self._pictures(cut - 1, cut + 1 + self._flash_frames)
        earlier = self._pictures(cut - 1 - self._flash_frames, cut - 1)
        jump = float(np.abs(after - before).mean())
        back = min(
            *(float(np.abs(item - before).mean()) for item in later),
            *(float(np.abs(item - after).mean()) for item in earlier),
        )
        return back < _IS_BACK * jump and abs(float(after.mean() - before.mean())) > _MOSTLY_LIGHT * jump


def _thumb(frame: np.ndarray) -> np.ndarray:
    thumb: np.ndarray = cv2.resize(frame, (THUMB_WIDTH, THUMB_HEIGHT), interpolation=cv2.INTER_AREA)
    return thumb


def detect(frames: Iterable[tuple[float, np.ndarray]], frame_s: float) -> list[tuple[float, float]]:
    """The shots of ``(time_s, frame)`` pairs, as `iter_frames` gives them."""
    finder = ShotFinder(1 / frame_s)
    for time_s, frame in frames:
        finder.add(time_s, frame)
    return finder.shots(frame_s)
