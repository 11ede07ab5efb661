"""Video files to frames: a clip at a steady rate for the model, small frames with their times for the scores."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
from av.video.reformatter import Interpolation

from sora_core.errors import InputError, UnreadableMedia
from sora_core.media.stream import Converter, geometry, timed_frames

# The longest time that one frame is repeated; a longer gap is a damaged clock and is cut.
_MAX_HOLD_S = 10.0
_MAX_CLIP_BYTES = 4 << 30
# Rounding of float arithmetic on times, in ticks and in seconds; both far below a frame.
_TICK_SLACK = 1e-6
_TIME_SLACK_S = 1e-5

T = TypeVar("T")


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
    pictures: list[np.ndarray] = []
    for picture in clip_frames(path, start_s, end_s, fps=fps, size=size):
        pictures.append(picture)
        if len(pictures) == max_frames:
            break
        if len(pictures) * picture.nbytes > _MAX_CLIP_BYTES:
            raise InputError(f"{Path(path).name}: a clip of over {_MAX_CLIP_BYTES >> 30} GiB; ask for a shorter span")
    if not pictures:
        raise UnreadableMedia(
            f"{Path(path).name}: no frame decodes from {start_s} s on; choose another span or upload it again",
            reason="no_decodable_frames",
        )
    return np.stack(pictures)


def clip_frames(
    path: Path | str,
    start_s: float = 0.0,
    end_s: float | None = None,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
    """The frames of `decode_clip` one by one, with no bound on how many; none when nothing decodes."""
    source = timed_frames(path, start_s)
    first = next(source, None)
    if first is None:
        return
    video, _, frame = first
    convert = Converter(size or geometry(video.stream, frame).displayed, Interpolation.AREA)
    timed = ((time_s, item) for _, time_s, item in chain([first], source))
    last, pixels = None, np.empty(0)
    for item in resample(timed, start_s, math.inf if end_s is None else end_s, fps or video.fps, video.fps):
        if item is not last:
            last, pixels = item, convert(item)
        yield pixels


def resample(
    frames: Iterable[tuple[float, T]], start_s: float, end_s: float, fps: float, source_fps: float
) -> Iterator[T]:
    """The frame on screen at each tick ``start_s + i / fps`` before ``end_s``; times must not fall.

    Half a source frame of tolerance absorbs the rounding of time stamps, so a steady file passes unchanged, but no
    frame from ``end_s`` on is ever shown. A gap is filled by repeating the frame before it, the time before the first
    frame by the first; the last frame lasts one source interval.
    """
    tolerance_s = 0.5 / max(fps, source_fps)
    max_hold = math.ceil(_MAX_HOLD_S * fps)

    def first_tick(time_s: float) -> float:
        return math.inf if time_s == math.inf else math.ceil((time_s - start_s) * fps - _TICK_SLACK)

    num_ticks, tick = first_tick(end_s), 0.0
    shown: T | None = None
    shown_s = start_s
    for time_s, frame in frames:
        until = num_ticks if time_s >= end_s - _TIME_SLACK_S else min(num_ticks, first_tick(time_s - tolerance_s))
        if shown is not None:
            yield from repeat(shown, int(max(0, min(until - tick, max_hold))))
            tick = max(tick, until)
        if tick >= num_ticks or time_s >= end_s - _TIME_SLACK_S:
            return
        shown, shown_s = frame, time_s
    if shown is not None:
        until = min(num_ticks, first_tick(shown_s + 1 / source_fps - tolerance_s))
        yield from repeat(shown, int(max(0, until - tick)))
