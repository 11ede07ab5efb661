"""A decoded frame's own planes, without a conversion."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import ColorRange


def luma_of(frame: Any) -> np.ndarray:
    """The stored luma of a decoded frame, uint8 ``(h, w)`` of full range.

    FFmpeg's way to grey leads over RGB for many frames that are tagged with a matrix: luma then moves with chroma, by
    up to 19 levels, and 1080 lines take 2.7 ms instead of .6.
    """
    component = frame.format.components[0]
    if not (component.is_luma and frame.format.is_planar and component.bits in (8, 10, 12)):
        grey: np.ndarray = frame.reformat(format="gray").to_ndarray()
        return grey
    plane = frame.planes[0]
    dtype: np.dtype[Any] = np.dtype("u1" if component.bits == 8 else ">u2" if frame.format.is_big_endian else "<u2")
    lines = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    stored = lines[: frame.height, : frame.width]
    is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    if component.bits == 8:
        luma: np.ndarray = np.ascontiguousarray(stored) if is_full else cv2.LUT(stored, _full_range(8))
    else:
        luma = np.take(_full_range(component.bits, is_full), stored)
    return luma


@lru_cache
def _full_range(bits: int, is_full: bool = False) -> np.ndarray:
    """uint8 of full range by stored code."""
    level = np.arange(1 << bits) / (1 << (bits - 8))
    shown = level if is_full else (level - 16) * 255 / 219
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)
