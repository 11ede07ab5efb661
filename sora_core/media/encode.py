"""Frames to an MP4 that every player shows with the right colours and starts before it is whole."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from jaxtyping import Int16

from sora_core.errors import InputError
from sora_core.media.sound import SOUND_HZ

# AVCOL_* code points of BT.709, and of the limited range; they happen to be the same number.
_BT709 = 1
_LIMITED_RANGE = 1
# NTSC rates have this denominator.
_RATE_DENOMINATOR = 1001


class Mp4Writer:
    """An H.264 file that grows frame by frame: BT.709 tagged, index first. It gets its name when it is closed.

    ``height`` and ``width`` must be even; ``sound`` begins with the first frame and ends with the last at the latest;
    ``metadata`` are keys of the file.
    Leaving the ``with`` block by an exception leaves no file.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        height: int,
        width: int,
        fps: float,
        crf: int = 18,
        preset: str = "veryfast",
        sound: Int16[np.ndarray, "n 2"] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if height % 2 or width % 2 or min(height, width) < 2:
            raise InputError(f"size {width}x{height}: H.264 needs even sides; use {width // 2 * 2}x{height // 2 * 2}")
        if not fps > 0:
            raise InputError(f"fps = {fps}: must be above 0")
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._shape = (height, width, 3)
        self._rate = Fraction(fps).limit_denominator(_RATE_DENOMINATOR)
        flags = "+faststart+use_metadata_tags" if metadata else "+faststart"
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": flags})
        self._container.metadata.update(metadata or {})
        self._stream = self._open_stream(crf, preset)
        self._sound = sound
        self._sound_stream: Any = None if sound is None else self._open_sound()
        self._sounded = 0
        self._num_frames = 0

    def _open_stream(self, crf: int, preset: str) -> Any:
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.height, stream.width, stream.pix_fmt = self._shape[0], self._shape[1], "yuv420p"
        stream.codec_tag = "avc1"
        # The macroblock tree of this x264 reads memory that nobody wrote: the same frames gave other files by chance.
        params = "colorprim=bt709:transfer=bt709:colormatrix=bt709:mbtree=0"
        stream.options = {"crf": str(crf), "preset": preset, "x264-params": params}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    def _open_sound(self) -> Any:
        return self._container.add_stream("aac", rate=SOUND_HZ, layout="stereo", options={"b": "192k"})

    def add(self, frames: np.ndarray) -> None:
        """Append uint8 frames: one ``(h, w, 3)`` or several ``(t, h, w, 3)``."""
        for frame in frames if frames.ndim == 4 else frames[None]:
            assert frame.shape == self._shape, f"{frame.shape}, not {self._shape}"
            assert frame.dtype == np.uint8, frame.dtype
            self._container.mux(self._stream.encode(self._limited(frame)))
            self._num_frames += 1
            self._add_sound()

    def _add_sound(self) -> None:
        """The sound up to the end of the last frame."""
        if self._sound is None:
            return
        samples = self._sound[self._sounded : round(self._num_frames / self._rate * SOUND_HZ)]
        if not len(samples):
            return
        chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="stereo")
        chunk.sample_rate, chunk.pts, chunk.time_base = SOUND_HZ, self._sounded, Fraction(1, SOUND_HZ)
        self._container.mux(self._sound_stream.encode(chunk))
        self._sounded += len(samples)

    def _limited(self, frame: np.ndarray) -> Any:
        """A frame in the colours of the file's tags; without them the matrix would be a guess of the player."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p",
            src_colorspace="ITU709",
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
            threads=1,
        )
        picture.pts, picture.time_base = self._num_frames, 1 / self._rate
        picture.color_primaries = picture.color_trc = picture.colorspace = _BT709
        picture.color_range = _LIMITED_RANGE
        return picture

    def close(self) -> None:
        """Finish the file and give it its name. InputError when it got no frame."""
        if not self._num_frames:
            self.abort()
            raise InputError(f"{self._path.name}: no frames to encode")
        self._container.mux(self._stream.encode())
        if self._sound_stream is not None:
            self._container.mux(self._sound_stream.encode())
        self._container.close()
        self._partial.replace(self._path)

    def abort(self) -> None:
        """Drop what was written."""
        self._container.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def encode_mp4(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: float,
    crf: int = 18,
    sound: Int16[np.ndarray, "n 2"] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write uint8 ``(h, w, 3)`` frames of one even size as H.264, and stereo samples as AAC; whole or not at all.

    InputError for no frames.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError(f"{Path(path).name}: no frames to encode")
    height, width = first.shape[:2]
    with Mp4Writer(path, height=height, width=width, fps=fps, crf=crf, sound=sound, metadata=metadata) as writer:
        writer.add(first)
        for frame in iterator:
            writer.add(frame)
