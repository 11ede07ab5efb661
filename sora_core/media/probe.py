"""What a file is, before anything is done with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sora_core.errors import UnreadableMedia
from sora_core.media.container import may_start_anew
from sora_core.media.convert import orientation_of
from sora_core.media.picture import open_image
from sora_core.media.stream import OpenVideo, open_video


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A video or photograph whose first picture decodes.

    ``width`` and ``height`` are as displayed. ``duration_s`` is what the container claims, or its packets say where
    they know better; ``num_frames`` is a claim, None where there is none. ``max_fps`` is the rate where frames are
    densest. ``rotation`` is in degrees counter-clockwise, before a mirror left to right; ``transfer`` is FFmpeg's name
    of the transfer curve.
    """

    kind: Literal["video", "image"]
    width: int
    height: int
    fps: float | None
    max_fps: float | None
    duration_s: float | None
    num_frames: int | None
    rotation: int
    is_mirrored: bool
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
        max_fps=None,
        duration_s=None,
        num_frames=1,
        rotation=image.rotation,
        is_mirrored=image.is_mirrored,
        sample_aspect=1.0,
        pix_fmt=image.mode,
        codec=image.format,
        transfer=None,
        has_audio=False,
    )


def described(video: OpenVideo, frame: Any) -> MediaInfo:
    """Facts about a video that is open, whose first picture is ``frame``."""
    stream, container = video.stream, video.container
    height, width = video.displayed(frame)
    orientation = orientation_of(frame)
    return MediaInfo(
        kind="video",
        width=width,
        height=height,
        fps=video.fps,
        max_fps=video.timeline.max_fps,
        duration_s=_duration_s(video),
        num_frames=stream.frames or None,
        rotation=(90 * orientation.quarter_turns + 90) % 360 - 90,
        is_mirrored=orientation.is_mirrored,
        sample_aspect=float(stream.sample_aspect_ratio or 1),
        pix_fmt=frame.format.name,
        codec=stream.codec_context.codec.canonical_name,
        transfer=_transfer(frame),
        has_audio=bool(container.streams.audio),
    )


def _duration_s(video: OpenVideo) -> float | None:
    """The stream's own claim; what its packets say where it makes none, or may be joined of several with one each. The
    container's may count a longer sound track."""
    is_joined = may_start_anew(video.container) or video.timeline.picture.is_mended
    if not is_joined and video.stream.duration is not None and video.stream.duration > 0:
        return float(video.stream.duration * video.stream.time_base)
    return video.timeline.end_s


def _transfer(frame: Any) -> str | None:
    """Only the curves that need another treatment than plain video get a name."""
    return {16: "smpte2084", 18: "arib-std-b67"}.get(int(frame.color_trc))
