"""Video files to frames: a clip at a steady rate for the model, small frames with their times for the scores."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from av.video.reformatter import Interpolation

from sora_core.errors import InputError, UnreadableMedia
from sora_core.media.convert import Converter
from sora_core.media.stream import OpenVideo, timed_frames
from sora_core.media.timeline import LONGEST_HOLD_S

_MAX_CLIP_BYTES = 4 << 30
# What is left of a hold that is none, of which `timeline` leaves few.
_CUT_HOLD_S = 10.0
# Rounding of float arithmetic on times, in ticks and in seconds; both far below a frame.
_TICK_SLACK = 1e-6
_TIME_SLACK_S = 1e-5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Which frames of a file: on screen at ``start_s``, ``start_s + 1 / fps``, ... before ``end_s``, ``max_frames`` at
    most; rate and ``size`` (height, width) are the file's own by default."""

    start_s: float = 0.0
    end_s: float | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None
    max_frames: int | None = None


def decode_clip(
    path: Path | str,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    max_frames: int | None = None,
) -> np.ndarray:
    """Frames on screen at ``start_s``, ``start_s + 1 / fps``, ... before ``end_s``: uint8 ``(t, h, w, 3)``.

    ``fps`` and ``size`` are the file's own by default. A file that ends early gives what decodes; UnreadableMedia
    when nothing does, InputError when the clip wouldn't fit in memory.
    """
    [clip] = decode_spans(path, [Span(start_s, end_s, fps, size, max_frames)])
    if not len(clip):
        raise UnreadableMedia(
            f"{Path(path).name}: no frame decodes from {start_s} s on; choose another span or upload it again",
            reason="no_decodable_frames",
        )
    return clip


def decode_spans(path: Path | str, spans: Sequence[Span]) -> Iterator[np.ndarray]:
    """The frames of each span, uint8 ``(t, h, w, 3)``, which must come in the order of their ``start_s``; none of one
    where nothing decodes. Spans that don't overlap cost one pass over the file, all together."""
    assert all(one.start_s <= other.start_s for one, other in pairwise(spans)), "spans out of order"
    source = _Source(path)
    for span in spans:
        pictures = list(islice(_bounded(source.shown(span), path), span.max_frames))
        yield np.stack(pictures) if pictures else np.empty((0, *(span.size or (0, 0)), 3), np.uint8)


def _bounded(pictures: Iterable[np.ndarray], path: Path | str) -> Iterator[np.ndarray]:
    for number, picture in enumerate(pictures):
        if number * picture.nbytes > _MAX_CLIP_BYTES:
            raise InputError(f"{Path(path).name}: a clip of over {_MAX_CLIP_BYTES >> 30} GiB; ask for a shorter span")
        yield picture


def clip_frames(
    path: Path | str,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
    """The frames of `decode_clip` one by one, with no bound on how many; none when nothing decodes."""
    yield from _Source(path).shown(Span(start_s, end_s, fps, size))


class _Source:
    """The frames of a file as they pass by, for one span after another."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._frames: Iterator[tuple[OpenVideo, float, Any]] = iter(())
        # The last two that came: the second is beyond the span that ended with it, and the next may begin with either.
        self._passed: deque[tuple[OpenVideo, float, Any]] = deque(maxlen=2)

    def shown(self, span: Span) -> Iterator[np.ndarray]:
        """The pictures of a span."""
        if not self._passed or self._passed[0][1] > span.start_s:
            self._passed.clear()
            self._frames = timed_frames(self._path, span.start_s)
        source = chain(tuple(self._passed), self._coming())
        first = next(source, None)
        if first is None:
            return
        video, timeline = first[0], first[0].timeline
        timed = ((time_s, frame) for _, time_s, frame in chain([first], source))
        end_s, fps = math.inf if span.end_s is None else span.end_s, span.fps or video.fps
        fit, last, pixels = None, None, np.empty(0)
        for frame in resample(timed, span.start_s, end_s, fps, timeline.max_fps, timeline.last_frame_s):
            fit = fit or _Fit(video.displayed(frame), span.size)
            if frame is not last:
                last, pixels = frame, fit(frame, video.displayed(frame))
            yield pixels

    def _coming(self) -> Iterator[tuple[OpenVideo, float, Any]]:
        for item in self._frames:
            self._passed.append(item)
            yield item


class _Fit:
    """Brings frames to the size of a span's first, or to another ``size`` that stands for it; what has another shape
    keeps it, between black bars."""

    def __init__(self, displayed: tuple[int, int], size: tuple[int, int] | None) -> None:
        self._displayed = displayed
        self._size = size or displayed
        self._converters: dict[tuple[int, int], Converter] = {}

    def __call__(self, frame: Any, displayed: tuple[int, int]) -> np.ndarray:
        inner = self._inner(displayed)
        if inner not in self._converters:
            self._converters[inner] = Converter(inner, Interpolation.AREA)
        pixels = self._converters[inner](frame)
        if inner == self._size:
            return pixels
        framed = np.zeros((*self._size, 3), np.uint8)
        top, left = (self._size[0] - inner[0]) // 2, (self._size[1] - inner[1]) // 2
        framed[top : top + inner[0], left : left + inner[1]] = pixels
        return framed

    def _inner(self, displayed: tuple[int, int]) -> tuple[int, int]:
        scale = min(own / other for own, other in zip(self._displayed, displayed, strict=True))
        height, width = (
            max(1, round(other * scale * side / own))
            for other, side, own in zip(displayed, self._size, self._displayed, strict=True)
        )
        return height, width


def resample(
    frames: Iterable[tuple[float, T]],
    start_s: float,
    end_s: float,
    fps: float,
    source_fps: float,
    last_s: float | None = None,
) -> Iterator[T]:
    """The frame on screen at each tick ``start_s + i / fps`` before ``end_s``; times must not fall.

    Half a frame of tolerance, at ``source_fps`` where that is denser, absorbs the rounding of time stamps, so a steady
    file passes unchanged, but no frame from ``end_s`` on is ever shown. A gap is filled by repeating the frame before
    it, the time before the first frame by the first; the last frame lasts ``last_s``, one source interval by default.
    """
    tolerance_s = 0.5 / max(fps, source_fps)

    def first_tick(time_s: float) -> float:
        return math.inf if time_s == math.inf else math.ceil((time_s - start_s) * fps - _TICK_SLACK)

    num_ticks, tick = first_tick(end_s), 0.0
    shown: T | None = None
    shown_s = start_s
    for time_s, frame in frames:
        until = num_ticks if time_s >= end_s - _TIME_SLACK_S else min(num_ticks, first_tick(time_s - tolerance_s))
        if shown is not None:
            held = until - tick if until - tick <= LONGEST_HOLD_S * fps else _CUT_HOLD_S * fps
            yield from repeat(shown, int(max(0, held)))
            tick = max(tick, until)
        if tick >= num_ticks or time_s >= end_s - _TIME_SLACK_S:
            return
        shown, shown_s = frame, time_s
    if shown is not None:
        until = min(num_ticks, first_tick(shown_s + (last_s or 1 / source_fps) - tolerance_s))
        yield from repeat(shown, int(max(0, until - tick)))
