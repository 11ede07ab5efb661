"""Decoded frames as a viewer sees them: pixels square, upright, RGB of eight bits."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from sora_core.media.hdr import HLG, PQ, to_sdr

_MAX_SAMPLE_ASPECT = 4.0


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels become upright ones: turned by quarters counter-clockwise, then mirrored left to right."""

    quarter_turns: int = 0
    is_mirrored: bool = False

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """``(h, w, ...)`` pixels as they are to be seen."""
        turned = np.rot90(pixels, self.quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.is_mirrored else turned)


def orientation_of(frame: Any) -> Orientation:
    """What the display matrix in a frame's side data asks for: one of eight, the nearest."""
    said = frame.side_data.get("DISPLAYMATRIX")
    if said is None:
        return Orientation()
    # Row vectors (x, y, 1) times the matrix; y points down, as in pictures.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(said)[:36])
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a, c = -a, -c  # without the mirror that comes last
    if abs(a) >= abs(b):
        return Orientation(0 if a >= 0 else 2, is_mirrored)
    return Orientation(3 if b > 0 else 1, is_mirrored)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How stored frames become displayed ones: stretched to ``height x width`` (stored orientation), then turned."""

    height: int
    width: int
    orientation: Orientation

    @property
    def displayed(self) -> tuple[int, int]:
        """Height and width as a viewer sees them."""
        return (self.width, self.height) if self.orientation.quarter_turns % 2 else (self.height, self.width)


def geometry(stream: Any, frame: Any) -> Geometry:
    """The displayed shape of a frame: the container's pixel aspect and the orientation in the frame's side data."""
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
    return Geometry(height, width, orientation_of(frame))


class Converter:
    """Turns decoded frames into displayed uint8 RGB of one size ``(h, w)``; HDR ones are tone-mapped."""

    def __init__(self, size: tuple[int, int], interpolation: Interpolation) -> None:
        self._size = size
        self._interpolation = interpolation | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        orientation = orientation_of(frame)
        height, width = self._size[::-1] if orientation.quarter_turns % 2 else self._size
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
        return pixels if orientation == Orientation() else orientation.upright(pixels)


def _assumed_colorspace(frame: Any) -> Colorspace | None:
    """Untagged pictures: BT.709 from 720 lines on, as players do; FFmpeg would take BT.601 for all."""
    untagged = frame.colorspace == 2
    return Colorspace.ITU709 if untagged and min(frame.height, frame.width) >= 720 else None
