"""Luma without a conversion is the luma that was stored."""

import av
import numpy as np
import pytest

from sora_core.media.planes import luma_of


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj422p", "nv12", "yuv420p10le", "yuv444p12be", "gray", "rgb24"])
def test_luma_is_what_was_stored_in_full_range(pix_fmt: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (34, 58), np.uint8)
    frame = av.VideoFrame.from_ndarray(np.stack([grey] * 3, axis=-1), format="rgb24").reformat(format=pix_fmt)
    luma = luma_of(frame)
    assert (luma.shape, luma.dtype) == (grey.shape, np.uint8)
    assert np.abs(luma.astype(int) - grey).max() <= 2


def test_luma_does_not_move_with_chroma() -> None:
    frame = av.VideoFrame(32, 32, "yuv420p")
    for plane, level in zip(frame.planes, (100, 30, 220), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.colorspace = 1
    assert np.all(luma_of(frame) == round((100 - 16) * 255 / 219))
