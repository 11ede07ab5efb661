"""The picture stream of a video file as frames with trustworthy times, whatever its container claims."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from sora_core.media.container import is_timed, open_container, picture_stream
from sora_core.media.convert import geometry
from sora_core.media.deinterlace import whole
from sora_core.media.timeline import Timeline, demuxed, timeline_of

# Old AVI and odd MP4 files stamp frames in coding order; the deepest B-frame pyramid met in them is two.
_REORDER_WINDOW = 4
# Packets in a row that don't decode before a file is given up; a damaged stretch is shorter.
_MAX_BAD_PACKETS = 300

TimedFrame = tuple[float, Any]


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A container open for decoding, once, from its beginning."""

    container: Any
    stream: Any
    timeline: Timeline

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self.timeline.fps

    def displayed(self, frame: Any) -> tuple[int, int]:
        """Height and width of a frame as a viewer sees it."""
        return geometry(self.stream, frame).displayed

    def frames(self, first_packet: int = 0) -> Iterator[TimedFrame]:
        """Frames in display order, their times never falling; those of packets before ``first_packet`` are left out."""
        if not is_timed(self.container, self.stream):
            assert not first_packet
            yield from ((i / self.fps, frame) for i, frame in enumerate(whole(self._decoded(0), self.stream.time_base)))
            return
        last_s = -math.inf
        for time_s, frame in _in_order(self._stamped(first_packet)):
            last_s = max(time_s, last_s)
            yield last_s, frame

    def _stamped(self, first_packet: int) -> Iterator[TimedFrame]:
        expected_s = 0.0
        for frame in whole(self._decoded(first_packet), self.stream.time_base):
            tick_s = float(self.stream.time_base)
            time_s = expected_s if frame.pts is None else (frame.pts - self.timeline.origin) * tick_s
            expected_s = time_s + 1 / self.fps
            yield time_s, frame

    def _decoded(self, first_packet: int) -> Iterator[Any]:
        """What decodes, its stamps mended; damaged packets are passed over, an unreadable rest ends the stream."""
        bad_packets = 0
        for number, packet in enumerate(demuxed(self.container, [self.stream])):
            if number < first_packet:
                continue
            clock = self.timeline.picture
            packet.pts, packet.dts = clock.mended(number, packet.pts), clock.mended(number, packet.dts)
            try:
                frames = packet.decode()
                bad_packets = 0
            except MemoryError:
                raise
            except FFmpegError:
                frames, bad_packets = [], bad_packets + 1
            yield from frames
            if bad_packets == _MAX_BAD_PACKETS:
                return
        try:
            frames = self.stream.codec_context.decode(None)
        except FFmpegError:
            return
        yield from frames


def _in_order(stamped: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """Frames in the decoder's order, which is the display order, with their times sorted within a short window."""
    times: list[float] = []
    frames: deque[Any] = deque()
    for time_s, frame in stamped:
        heapq.heappush(times, time_s)
        frames.append(frame)
        if len(frames) > _REORDER_WINDOW:
            yield heapq.heappop(times), frames.popleft()
    while frames:
        yield heapq.heappop(times), frames.popleft()


@contextmanager
def open_video(path: Path | str) -> Iterator[OpenVideo]:
    """The best picture stream of a file. UnreadableMedia says why there is none."""
    timeline = timeline_of(path)
    with open_container(path) as container:
        yield OpenVideo(container, picture_stream(container, Path(path).name), timeline)


def timed_frames(path: Path | str, start_s: float = 0.0) -> Iterator[tuple[OpenVideo, float, Any]]:
    """``(video, time_s, frame)`` from at or before ``start_s`` on, each as if all had been decoded.

    What comes before the last key frame isn't, where that frame shows that it needs nothing before it.
    """
    with open_video(path) as video:
        first_packet = video.timeline.first_packet(start_s)
        frames = video.frames(first_packet)
        first = next(frames, None)
        if first is not None and (not first_packet or _stands_alone(first, start_s)):
            yield from ((video, *timed) for timed in chain([first], frames))
            return
    if first_packet:
        with open_video(path) as video:
            yield from ((video, *timed) for timed in video.frames())


def _stands_alone(first: TimedFrame, start_s: float) -> bool:
    time_s, frame = first
    return time_s <= start_s and frame.key_frame and not frame.is_corrupt
