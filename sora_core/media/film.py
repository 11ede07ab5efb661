"""Frames kept exactly, between two stages of work: FFV1, a third of their size, and from there to an array on disk."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8

from sora_core.errors import InputError, UnreadableMedia
from sora_core.shapes import PixelShape

# FFV1 keeps RGB as it is in this layout; it has none of three bytes a pixel.
_STORED = "bgr0"


def write_film(path: Path | str, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> PixelShape:
    """Write frames of one size losslessly; the shape of them all. InputError for no frames."""
    count, shape = 0, (0, 0)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.codec_context.thread_count = 1
        stream.pix_fmt = _STORED
        stream.codec_context.gop_size = 1  # any frame can be read without those before it
        for frame in frames:
            if not count:
                shape = stream.height, stream.width = frame.shape[:2]
            assert frame.shape[:2] == shape, f"{frame.shape[:2]}, not {shape}"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = count
            container.mux(stream.encode(picture.reformat(format=_STORED)))
            count += 1
        if not count:
            raise InputError(f"{Path(path).name}: no frames to keep")
        container.mux(stream.encode())
    return PixelShape(count, *shape)


def read_film(
    path: Path | str, into: Path | str, shape: PixelShape, wanted: range | None = None
) -> UInt8[np.ndarray, "t h w 3"]:
    """What `write_film` kept, laid out in the file ``into`` and mapped from there: frames take no memory until used.

    Only the ``wanted`` frames are decoded, the others are black. UnreadableMedia when the film is damaged.
    """
    frames = np.memmap(into, np.uint8, "w+", shape=(shape.frames, shape.height, shape.width, 3))
    span = range(shape.frames) if wanted is None else wanted
    decoded = 0
    try:
        with av.open(f"file:{path}") as container:
            container.seek(span.start * av.time_base)
            for frame in container.decode(video=0):
                number = round(float(frame.time))
                if number >= span.stop:
                    break
                if number in span:
                    frames[number] = frame.to_ndarray(format="rgb24")
                    decoded += 1
    except FFmpegError as error:
        raise UnreadableMedia(f"{Path(path).name}: kept frames are damaged ({error})", reason="damaged_film") from error
    if decoded < len(span):
        raise UnreadableMedia(
            f"{Path(path).name}: {len(span) - decoded} of {len(span)} kept frames are gone", reason="damaged_film"
        )
    return frames
