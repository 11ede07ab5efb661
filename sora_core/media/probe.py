"""What a file is, before anything is done with it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av

from sora_core.errors import UnreadableMedia
from sora_core.media.picture import open_image
from sora_core.media.stream import OpenVideo, geometry, open_video


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A video or photograph whose first picture decodes.

    ``width`` and ``height`` are as displayed. ``duration_s`` and ``num_frames`` are the container's claim, None where
    it makes none. ``rotation`` is in degrees counter-clockwise; ``transfer`` is FFmpeg's name of the transfer curve.
    """

    kind: Literal["video", "image"]
    width: int
    height: int
    fps: float | None
    duration_s: float | None
    num_frames: int | None
    rotation: int
    sample_aspect: float
    pix_fmt: str
    codec: str
    transfer: str | None
    has_audio: bool


def probe(path: Path | str) -> MediaInfo:
    """Facts about a file. UnreadableMedia with a reason when no picture of it decodes."""
    image = probe_image(path)
    if image is not None:
        return image
    with open_video(path) as video:
        first = next(video.frames(), None)
        if first is None:
            raise UnreadableMedia(
                f"{Path(path).name}: no frame of it decodes; upload it again", reason="no_decodable_frames"
            )
        return described(video, first[1])


def probe_image(path: Path | str) -> MediaInfo | None:
    """Facts about a still picture; None for anything else."""
    path = Path(path)
    image = open_image(path) if path.is_file() else None
    if image is None:
        return None
    return MediaInfo(
        kind="image",
        width=image.width,
        height=image.height,
        fps=None,
        duration_s=None,
        num_frames=1,
        rotation=image.rotation,
        sample_aspect=1.0,
        pix_fmt=image.mode,
        codec=image.format,
        transfer=None,
        has_audio=False,
    )


def described(video: OpenVideo, frame: Any) -> MediaInfo:
    """Facts about a video that is open, whose first picture is ``frame``."""
    stream, container = video.stream, video.container
    height, width = geometry(stream, frame).displayed
    return MediaInfo(
        kind="video",
        width=width,
        height=height,
        fps=video.fps,
        duration_s=_duration_s(stream, container),
        num_frames=stream.frames or None,
        rotation=int(frame.rotation),
        sample_aspect=float(stream.sample_aspect_ratio or 1),
        pix_fmt=frame.format.name,
        codec=stream.codec_context.codec.canonical_name,
        transfer=_transfer(frame),
        has_audio=bool(container.streams.audio),
    )


def _duration_s(stream: Any, container: Any) -> float | None:
    """The stream's own length before the container's, which may count a longer sound track."""
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and container.duration > 0 and math.isfinite(container.duration):
        return float(container.duration / av.time_base)
    return None


def _transfer(frame: Any) -> str | None:
    """Only the curves that need another treatment than plain video get a name."""
    return {16: "smpte2084", 18: "arib-std-b67"}.get(int(frame.color_trc))
