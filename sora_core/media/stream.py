"""The picture stream of a video file as frames with trustworthy times, whatever its container claims."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from sora_core.errors import MissingObject, UnreadableMedia
from sora_core.media.hdr import HLG, PQ, to_sdr

# Demuxers that read pictures from the file itself. Playlists, concatenations and image patterns are left out: they
# would open other files that the uploader names.
_CONTAINERS = (
    "mov,mp4,m4a,matroska,webm,avi,mpeg,mpegts,mpegtsraw,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,ogg,flv,asf,gif,apng,"
    "mxf,nut,rm,dv,gxf,yuv4mpegpipe,mjpeg,swf,wtv,wav,mp3,flac,aac,aiff,ac3,amr,caf"
)
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
# Old AVI and odd MP4 files stamp frames in coding order; the deepest B-frame pyramid met in them is two.
_REORDER_WINDOW = 4
# Packets in a row that don't decode before a file is given up; a damaged stretch is shorter.
_MAX_BAD_PACKETS = 300
_MAX_FPS = 240.0
_FALLBACK_FPS = 25.0
_MAX_PIXELS = 1 << 26
_MAX_SAMPLE_ASPECT = 4.0
# Below this, decoding from the start costs less than seeking and checking where the seek landed.
_SEEK_FROM_S = 1.0
# A step back in time longer than this is a stream spliced from several; its clock starts anew.
_CLOCK_RESET_S = 1.0

TimedFrame = tuple[float, Any]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How stored frames become displayed ones: stretched to ``height x width`` (stored orientation), then turned."""

    height: int
    width: int
    quarter_turns: int

    @property
    def displayed(self) -> tuple[int, int]:
        """Height and width as a viewer sees them."""
        return (self.width, self.height) if self.quarter_turns % 2 else (self.height, self.width)


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A container open for decoding. ``origin_s`` is the stream's own time of its beginning."""

    container: Any
    stream: Any
    origin_s: float
    fps: float
    is_timed: bool

    def seek(self, start_s: float) -> bool:
        """Move to the key frame before ``start_s``; False when the container can't."""
        try:
            target = int((self.origin_s + start_s) / self.stream.time_base)
            self.container.seek(target, stream=self.stream, backward=True)
        except (FFmpegError, OverflowError, ValueError):
            return False
        return True

    def frames(self) -> Iterator[TimedFrame]:
        """Frames from the current place on, in display order, their times never falling."""
        if not self.is_timed:
            yield from ((i / self.fps, frame) for i, frame in enumerate(self._decoded()))
            return
        clock, last_s = -self.origin_s, -math.inf
        for stamp, frame in _in_order(self._stamped()):
            time_s = stamp + clock
            if time_s < last_s - _CLOCK_RESET_S:
                clock += last_s + 1 / self.fps - time_s
                time_s = last_s + 1 / self.fps
            last_s = max(time_s, last_s)
            yield last_s, frame

    def _stamped(self) -> Iterator[TimedFrame]:
        expected_s = self.origin_s
        for frame in self._decoded():
            time_s = expected_s if frame.time is None else float(frame.time)
            expected_s = time_s + 1 / self.fps
            yield time_s, frame

    def _decoded(self) -> Iterator[Any]:
        """What decodes; damaged packets are passed over, an unreadable rest ends the stream."""
        packets = self.container.demux(self.stream)
        bad_packets = 0
        while bad_packets < _MAX_BAD_PACKETS:
            try:
                packet = next(packets)
            except (StopIteration, FFmpegError):
                return
            try:
                frames = packet.decode()
                bad_packets = 0
            except FFmpegError:
                frames, bad_packets = [], bad_packets + 1
            yield from frames


def _in_order(stamped: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """Frames in the decoder's order, which is the display order, with their times sorted within a short window."""
    times: list[float] = []
    frames: deque[Any] = deque()
    for time_s, frame in stamped:
        if times and time_s < times[0] - _CLOCK_RESET_S:
            while frames:
                yield heapq.heappop(times), frames.popleft()
        heapq.heappush(times, time_s)
        frames.append(frame)
        if len(frames) > _REORDER_WINDOW:
            yield heapq.heappop(times), frames.popleft()
    while frames:
        yield heapq.heappop(times), frames.popleft()


@contextmanager
def open_video(path: Path | str) -> Iterator[OpenVideo]:
    """The best picture stream of a file. UnreadableMedia says why there is none."""
    path = Path(path)
    if not path.is_file():
        raise MissingObject(f"{path}: no such file; correct the path")
    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path.name} has no bytes; upload it again", reason="empty_file")
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError) as error:
        raise UnreadableMedia(
            f"{path.name}: not a video file that this build reads ({type(error).__name__})",
            reason="unreadable_container",
        ) from error
    with container:
        stream = _picture_stream(container, path.name)
        timed = stream.start_time is not None or container.start_time is not None
        origin_s = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
        yield OpenVideo(container, stream, origin_s, _frame_rate(stream, timed), timed)


def _picture_stream(container: Any, name: str) -> Any:
    """The stream that a player would show, cover art left out, set to decode on one thread."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not container.streams:
        raise UnreadableMedia(
            f"{name} is cut off before its first stream; upload it again", reason="unreadable_container"
        )
    if not streams:
        raise UnreadableMedia(f"{name} has no picture stream; leave it out", reason="no_video_stream")
    best = container.streams.best("video")
    stream = next((item for item in streams if best is not None and item.index == best.index), streams[0])
    if stream.codec_context is None:
        raise UnreadableMedia(
            f"{name}: its codec is unknown to this build; convert it to H.264", reason="unknown_codec"
        )
    if stream.width * stream.height > _MAX_PIXELS:
        raise UnreadableMedia(
            f"{name} claims {stream.width}x{stream.height} pixels, more than {_MAX_PIXELS}; scale it down",
            reason="bad_dimensions",
        )
    # Processes share the cores; codec threads cost up to 30 % more CPU for the same frames.
    stream.codec_context.thread_count = 1
    # Each frame then tells its quantiser, for at most a tenth of the decoder's time. A size that grows on the way is
    # bounded like the first.
    stream.codec_context.options = {"export_side_data": "venc_params", "max_pixels": str(_MAX_PIXELS)}
    return stream


def _frame_rate(stream: Any, timed: bool) -> float:
    """Frames a second: the average where times exist, the codec's own claim for a raw stream."""
    claims = (stream.average_rate, stream.guessed_rate) if timed else (stream.guessed_rate, stream.average_rate)
    for claim in claims:
        if claim and 0 < float(claim) <= _MAX_FPS:
            return float(claim)
    return _FALLBACK_FPS


def timed_frames(path: Path | str, start_s: float = 0.0) -> Iterator[tuple[OpenVideo, float, Any]]:
    """``(video, time_s, frame)`` from at or before ``start_s`` on; a seek that lands late is undone."""
    if start_s > _SEEK_FROM_S:
        with open_video(path) as video:
            frames = video.frames() if video.is_timed and video.seek(start_s) else iter(())
            first = next(frames, None)
            if first is not None and first[0] <= start_s:
                yield video, *first
                yield from ((video, *timed) for timed in frames)
                return
    with open_video(path) as video:
        yield from ((video, *timed) for timed in video.frames())


def geometry(stream: Any, frame: Any) -> Geometry:
    """The displayed shape of a frame: the container's pixel aspect and the rotation in the frame's side data."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _MAX_SAMPLE_ASPECT <= aspect <= _MAX_SAMPLE_ASPECT:
        aspect = 1.0
    # Stretch, never squeeze: no stored pixel is lost.
    height, width = (
        (frame.height, round(frame.width * aspect))
        if aspect >= 1
        else (
            round(frame.height / aspect),
            frame.width,
        )
    )
    return Geometry(height, width, round(frame.rotation / 90) % 4)


class Converter:
    """Turns decoded frames into displayed uint8 RGB of one size ``(h, w)``; HDR ones are tone-mapped."""

    def __init__(self, size: tuple[int, int], interpolation: Interpolation) -> None:
        self._size = size
        self._interpolation = interpolation | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        quarter_turns = round(frame.rotation / 90) % 4
        height, width = self._size[::-1] if quarter_turns % 2 else self._size
        is_hdr = frame.color_trc in (PQ, HLG)
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            # FFmpeg 8.1 makes wrong colours of packed 16 bits where it doesn't scale, or scales fast; planes are right.
            format="gbrp16le" if is_hdr else "rgb24",
            src_colorspace=_assumed_colorspace(frame),
            interpolation=self._interpolation,
            threads=1,
        )
        pixels = to_sdr(rgb.to_ndarray(), int(frame.color_trc)) if is_hdr else rgb.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def _assumed_colorspace(frame: Any) -> Colorspace | None:
    """Untagged pictures: BT.709 from 720 lines on, as players do; FFmpeg would take BT.601 for all."""
    untagged = frame.colorspace == 2
    return Colorspace.ITU709 if untagged and min(frame.height, frame.width) >= 720 else None
