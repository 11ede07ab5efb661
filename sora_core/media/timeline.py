"""The one clock of a file, for its picture and its sound, however often its container's own starts anew.

It is made by reading the file's packets once, in their order, without decoding any. A time is then a matter of which
packet a frame came from, wherever decoding began.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError

from sora_core.errors import UnreadableMedia
from sora_core.media.container import (
    MAX_FPS,
    frame_rate,
    is_timed,
    may_start_anew,
    open_container,
    picture_stream,
    sound_stream,
)

# More pictures than this are no film that somebody shot: a day at the highest rate.
_MAX_PACKETS = 24 * 3600 * 240
# A step back that reordered pictures don't explain.
_STEP_BACK_S, _STEP_BACK_FRAMES = 1.0, 16
# The longest time without a picture that is a hold, not a damaged clock. Files joined byte by byte leap easily, and no
# broadcast holds a picture without repeating it.
LONGEST_HOLD_S = 600.0
_LONGEST_HOLD_OF_JOINED_S = 10.0
# Sound that goes on so closely shows that time did pass.
_SOUND_EVERY_S = 2.0
_SOUND_STEP_BACK_S = 0.5
_NONE = int(np.iinfo(np.int64).min)
_FROM = itemgetter(0)
_AS_IT_IS = (_NONE, 0)
_DENSE_SHARE = 0.05
_MOST = 0.5
_SAME_RATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """What is added to the stamps of a stream's packets: ``steps[i]`` says it from packet ``starts[i]`` on, as pairs of
    the stamp from which on it counts and of the ticks."""

    starts: tuple[int, ...] = (0,)
    steps: tuple[tuple[tuple[int, int], ...], ...] = ((_AS_IT_IS,),)

    def mended(self, number: int, stamp: int | None) -> int | None:
        """A packet's stamp in the one clock."""
        if stamp is None:
            return None
        steps = self.steps[bisect_right(self.starts, number) - 1]
        return stamp + steps[bisect_right(steps, stamp, key=_FROM) - 1][1]

    @property
    def is_mended(self) -> bool:
        """Whether it isn't the container's own."""
        return self.steps != ((_AS_IT_IS,),)

    def in_ticks(self, ratio: float, parts: Iterable[tuple[int, int]]) -> "Clock":
        """The same for another stream, whose ticks are ``ratio`` of these: for ``parts`` of it, each given as its first
        packet and the number of the part here that it belongs to."""
        starts, numbers = zip(*parts, strict=True)
        steps = tuple(
            tuple((max(_NONE, round(stamp / ratio)), round(ticks / ratio)) for stamp, ticks in self.steps[number])
            for number in numbers
        )
        return Clock(starts, steps)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The clocks of picture and sound, and what they say.

    ``origin`` is the picture's time of second 0, in its own ticks once they are mended; ``end_s`` when its last frame
    ends; ``fps`` is the average rate and ``max_fps`` that where frames are densest. ``key_packets`` and ``key_times_s``
    are where decoding may begin; none where stamps can't tell.
    """

    picture: Clock
    sound: Clock
    origin: int
    end_s: float | None
    last_frame_s: float
    fps: float
    max_fps: float
    key_packets: np.ndarray
    key_times_s: np.ndarray

    def first_packet(self, start_s: float) -> int:
        """Where decoding may begin for frames from ``start_s`` on, with a few before them for those that need it."""
        place = int(np.searchsorted(self.key_times_s, start_s - 2 / self.max_fps, side="right")) - 1
        return int(self.key_packets[place]) if place >= 0 else 0


def timeline_of(path: Path | str) -> Timeline:
    """The clock of a video file; the errors of `open_container` and `picture_stream`."""
    status = Path(path).stat() if Path(path).is_file() else None
    return _timeline(str(path), (status.st_size, status.st_mtime_ns) if status else (0, 0))


@lru_cache(maxsize=4)
def _timeline(path: str, _version: tuple[int, int]) -> Timeline:
    """The version tells files of one name apart."""
    with open_container(path) as container:
        picture, sound = picture_stream(container, Path(path).name), sound_stream(container)
        found = _Packets.of(container, picture, sound, Path(path).name)
        fps = frame_rate(container, picture)
        if not is_timed(container, picture) or not (found.shown).any():
            return _untimed(fps, len(found.pts))
        return _mended(found, fps, float(picture.time_base), may_start_anew(container), sound)


def _untimed(fps: float, frames: int) -> Timeline:
    nothing = np.empty(0)
    return Timeline(Clock(), Clock(), 0, frames / fps or None, 1 / fps, fps, fps, nothing, nothing)


@dataclass(frozen=True, slots=True, eq=False)
class _Packets:
    """The packets of a file in its order: of the picture their stamps (ticks, `_NONE` where there is none), of the
    sound its seconds and how many pictures came before."""

    pts: np.ndarray
    dts: np.ndarray
    durations: np.ndarray
    is_key: np.ndarray
    is_shown: np.ndarray
    sound_s: np.ndarray
    sound_after: np.ndarray

    @property
    def stamps(self) -> np.ndarray:
        """When each is to be shown, or to be decoded where that isn't said."""
        return np.where(self.pts != _NONE, self.pts, self.dts)

    @property
    def order(self) -> np.ndarray:
        """When each is to be decoded, in the order of which packets lie, so that time only falls where it begins anew.
        When they are to be shown may fall by as much as a picture is held."""
        are_told = float((self.dts != _NONE).mean()) > _MOST
        return self.dts if are_told else self.stamps

    @property
    def shown(self) -> np.ndarray:
        """Which packets are shown at a known time."""
        shown: np.ndarray = self.is_shown & (self.stamps != _NONE)
        return shown

    @classmethod
    def of(cls, container: Any, picture: Any, sound: Any, name: str) -> "_Packets":
        """All packets up to the first that can't be read."""
        rows: list[tuple[int, int, int, bool, bool]] = []
        heard: list[tuple[float, int]] = []
        for packet in demuxed(container, [picture, sound] if sound else [picture]):
            if packet.stream_index == picture.index:
                pts, dts = (_NONE if stamp is None else stamp for stamp in (packet.pts, packet.dts))
                rows.append((pts, dts, packet.duration or 0, packet.is_keyframe, not packet.is_discard))
                if len(rows) > _MAX_PACKETS:
                    raise UnreadableMedia(
                        f"{name}: more than {_MAX_PACKETS} pictures; split it", reason="too_many_frames"
                    )
            else:
                stamp = packet.pts if packet.pts is not None else packet.dts
                heard.append((np.nan if stamp is None else float(stamp * packet.time_base), len(rows)))
        pts, dts, durations, is_key, is_shown = np.array(rows, np.int64).reshape(-1, 5).T
        sound_s, after = np.array(heard, np.float64).reshape(-1, 2).T
        return cls(pts, dts, durations, is_key.astype(bool), is_shown.astype(bool), sound_s, after.astype(np.int64))


def demuxed(container: Any, streams: list[Any]) -> Iterator[Any]:
    """Packets that hold something, up to the first that can't be read; the same whenever they are asked for."""
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError):
            return
        if packet.size:
            yield packet


def _mended(found: _Packets, fps: float, tick_s: float, joined: bool, sound: Any) -> Timeline:
    """``fps`` is what the container claims."""
    steps_of = np.diff(found.order[found.order != _NONE])
    frame = int(np.median(steps_of[steps_of > 0])) if (steps_of > 0).any() else max(1, round(1 / (fps * tick_s)))
    starts = _beginnings(found, frame, tick_s, joined)
    longest = (_LONGEST_HOLD_OF_JOINED_S if joined else LONGEST_HOLD_S) / tick_s
    times = found.stamps.copy()
    steps: list[tuple[tuple[int, int], ...]] = []
    end: int | None = None
    for first, last in pairwise([*starts, len(times)]):
        own = np.sort(times[first:last][found.shown[first:last]])
        shift = end - int(own[0]) if end is not None and len(own) else steps[-1][-1][1] if steps else 0
        part = [(_NONE, shift)]
        for place in np.flatnonzero(np.diff(own) > longest).tolist():
            if not _is_heard_through(found, first, last, own[place] * tick_s, own[place + 1] * tick_s):
                shift -= int(own[place + 1] - own[place]) - frame
                # From the middle of the leap on: sound may begin a little before its picture.
                part.append((int(own[place] // 2 + own[place + 1] // 2), shift))
        steps.append(tuple(part))
        end = int(own[-1]) + shift + frame if len(own) else end
    picture = Clock(tuple(starts), tuple(steps))
    return _told(found, picture, _sound_clock(found, picture, tick_s, sound), frame, fps, tick_s)


def _beginnings(found: _Packets, frame: int, tick_s: float, joined: bool) -> list[int]:
    """The packets from which on a clock starts anew, the first of all included."""
    known = np.flatnonzero((found.order != _NONE) & found.is_shown)
    steps_s = np.diff(found.order[known]) * tick_s
    back_s = frame * tick_s / 2 if joined else max(_STEP_BACK_S, _STEP_BACK_FRAMES * frame * tick_s)
    return [0, *known[1:][steps_s < -back_s].tolist()]


def _is_heard_through(found: _Packets, first: int, last: int, start_s: float, end_s: float) -> bool:
    """Whether sound goes on while no picture comes, among the packets beside those from ``first`` to ``last``."""
    near = found.sound_s[(found.sound_after >= first) & (found.sound_after <= last)]
    inside = np.sort(near[(near > start_s) & (near < end_s)])
    return bool(np.diff(np.concatenate([[start_s], inside, [end_s]])).max() < _SOUND_EVERY_S)


def _sound_clock(found: _Packets, picture: Clock, tick_s: float, sound: Any) -> Clock:
    """The picture's clock for the sound: each run of its packets belongs to the part of the picture that lies beside it
    in the file, or next to that, and has the same times."""
    if not len(found.sound_s) or not picture.is_mended:
        return Clock()
    steps_s = np.nan_to_num(np.diff(found.sound_s))
    runs = [0, *(np.flatnonzero(steps_s < -_SOUND_STEP_BACK_S) + 1).tolist()]
    parts = [
        found.stamps[first:last][found.stamps[first:last] != _NONE] * tick_s
        for first, last in pairwise([*picture.starts, len(found.pts)])
    ]
    belongs: list[tuple[int, int]] = []
    for first, last in pairwise([*runs, len(found.sound_s)]):
        run = found.sound_s[first:last]
        beside = bisect_right(picture.starts, max(0, int(found.sound_after[(first + last) // 2]) - 1)) - 1
        near = [part for part in (beside, beside - 1, beside + 1) if 0 <= part < len(parts)]
        overlaps_s = [_overlap_s(run, parts[part]) for part in near]
        belongs.append((first, near[overlaps_s.index(max(overlaps_s))]))
    return picture.in_ticks(float(sound.time_base) / tick_s, belongs)


def _overlap_s(one: np.ndarray, other: np.ndarray) -> float:
    """Rounded, so that of equals the first is taken."""
    if not len(one) or not len(other) or np.isnan(one).any():
        return 0.0
    return round(float(min(one.max(), other.max()) - max(one.min(), other.min())), 1)


def _told(found: _Packets, picture: Clock, sound: Clock, frame: int, fps: float, tick_s: float) -> Timeline:
    """The timeline of clocks that are mended; ``frame`` is the ticks of one frame."""
    times = np.array([picture.mended(number, int(stamp)) for number, stamp in enumerate(found.stamps)])
    shown = np.flatnonzero(found.shown)
    latest = shown[np.argmax(times[shown])]
    length = int(found.durations[latest])
    # A file that stores only what changes says so by its rate: its last picture is shown for one frame of that.
    usual = min(frame, max(length, round(1 / (fps * tick_s)), 1))
    last = length if 1.5 * frame < length < LONGEST_HOLD_S / tick_s else usual
    origin = int(times[shown].min())
    end_s = (int(times[latest]) - origin + last) * tick_s
    steps = np.diff(np.sort(times[shown]))
    dense = float(np.quantile(steps[steps > 0], _DENSE_SHARE)) if (steps > 0).any() else float(frame)
    keys = np.flatnonzero(found.is_key)
    key_times_s = (times[keys] - origin) * tick_s
    is_plain = (
        (found.pts != _NONE).all()
        and (steps > 0).all()
        and ((found.dts == _NONE) | (found.dts <= found.pts)).all()
        and (np.diff(key_times_s) > 0).all()
    )
    own_fps = len(shown) / end_s
    # An average over a clock that had to be mended is none.
    is_claim_true = not picture.is_mended or abs(fps / own_fps - 1) < _SAME_RATE
    return Timeline(
        picture,
        sound,
        origin,
        end_s=end_s,
        last_frame_s=last * tick_s,
        fps=fps if is_claim_true else min(MAX_FPS, own_fps),
        max_fps=min(MAX_FPS, max(fps, 1 / (min(dense, frame) * tick_s))),
        key_packets=keys if is_plain else keys[:0],
        key_times_s=key_times_s if is_plain else key_times_s[:0],
    )
