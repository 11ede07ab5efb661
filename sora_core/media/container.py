"""A video file opened for reading: which of its streams is the picture, and what is refused before it decodes."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition

from sora_core.errors import MissingObject, UnreadableMedia

# Demuxers that read pictures from the file itself. Playlists, concatenations and image patterns are left out: they
# would open other files that the uploader names.
_CONTAINERS = (
    "mov,mp4,m4a,matroska,webm,avi,mpeg,mpegts,mpegtsraw,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,ogg,flv,asf,gif,apng,"
    "mxf,nut,rm,dv,gxf,yuv4mpegpipe,mjpeg,swf,wtv,wav,mp3,flac,aac,aiff,ac3,amr,caf"
)
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
# Brands of pictures whose tiles look like streams of their own.
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# The box that describes Dolby Vision, in MP4 and, behind the size of its element, in Matroska; it lies in the header.
_DOLBY_VISION = re.compile(rb"dvcC(?:\x41\xed.)?(\x01\x00..)", re.DOTALL)
_ITS_OWN_COLOURS = 5
_HEAD_BYTES = 1 << 20
MAX_FPS = 240.0
_FALLBACK_FPS = 25.0
MAX_FRAME_PIXELS = 1 << 26


@contextmanager
def open_container(path: Path | str) -> Iterator[Any]:
    """A file's container. MissingObject, or UnreadableMedia that says why it is none."""
    path = Path(path)
    if not path.is_file():
        raise MissingObject(f"{path}: no such file; correct the path")
    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path.name} has no bytes; upload it again", reason="empty_file")
    _refuse_by_name(path)
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError) as error:
        raise UnreadableMedia(
            f"{path.name}: not a video file that this build reads ({type(error).__name__})",
            reason="unreadable_container",
        ) from error
    with container:
        yield container


def _refuse_by_name(path: Path) -> None:
    """UnreadableMedia for files that would decode to something else than they show."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        tail = b""
        if path.stat().st_size > 2 * _HEAD_BYTES:
            file.seek(-_HEAD_BYTES, os.SEEK_END)
            tail = file.read()
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        raise UnreadableMedia(
            f"{path.name} is a HEIC picture, which is kept in tiles; convert it to JPEG", reason="heic_picture"
        )
    for part in (head, tail):
        found = _DOLBY_VISION.search(part)
        if found and found[1][2] >> 1 == _ITS_OWN_COLOURS:
            raise UnreadableMedia(
                f"{path.name}: HDR by Dolby Vision profile {_ITS_OWN_COLOURS}, whose colours only its own decoders "
                "know; convert it to HDR10 or SDR",
                reason="dolby_vision_5",
            )


def picture_stream(container: Any, name: str) -> Any:
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
    if stream.width * stream.height > MAX_FRAME_PIXELS:
        raise UnreadableMedia(
            f"{name} claims {stream.width}x{stream.height} pixels, more than {MAX_FRAME_PIXELS}; scale it down",
            reason="bad_dimensions",
        )
    # Processes share the cores; codec threads cost up to 30 % more CPU for the same frames.
    stream.codec_context.thread_count = 1
    # Each frame then tells its quantiser, for at most a tenth of the decoder's time. A size that grows on the way is
    # bounded like the first.
    stream.codec_context.options = {"export_side_data": "venc_params", "max_pixels": str(MAX_FRAME_PIXELS)}
    return stream


def sound_stream(container: Any) -> Any:
    """The sound that a player would play, or None."""
    stream = container.streams.best("audio")
    if stream is None or stream.codec_context is None:
        return None
    stream.codec_context.thread_count = 1
    return stream


def is_timed(container: Any, stream: Any) -> bool:
    """Whether a container stamps its pictures at all; a raw stream of a codec doesn't."""
    return stream.start_time is not None or container.start_time is not None


def may_start_anew(container: Any) -> bool:
    """Whether files of this kind are joined by joining their bytes, each with a clock of its own."""
    return bool(container.format.flags & Flags.ts_discont.value)


def frame_rate(container: Any, stream: Any) -> float:
    """Frames a second: the average where times exist, the codec's own claim for a raw stream."""
    claims = stream.average_rate, stream.guessed_rate
    for claim in claims if is_timed(container, stream) else claims[::-1]:
        if claim and 0 < float(claim) <= MAX_FPS:
            return float(claim)
    return _FALLBACK_FPS
