"""Tiles: what they cover, and that nobody sees where they meet."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_core import media
from sora_core.errors import InputError
from sora_core.pipeline.frames import to_video
from sora_core.vae import Tiling, VideoAutoencoder
from sora_core.vae.metrics import psnr

SCALE = 8


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(16, 512), st.integers(8, 256))
def test_tiles_cover_every_latent_overlap_as_asked_and_are_no_larger(length: int, side: int, overlap: int) -> None:
    if overlap > side // 2:
        return
    spans = Tiling(side, overlap).spans(length, SCALE)
    covered = {place for begin, end in spans for place in range(begin, end)}
    assert covered == set(range(length))
    if len(spans) > 1:
        assert {end - begin for begin, end in spans} == {side // SCALE}
        assert all(spans[i][1] - spans[i + 1][0] >= overlap // SCALE for i in range(len(spans) - 1))


def test_tiles_that_share_too_much_are_refused() -> None:
    with pytest.raises(InputError, match="half the side"):
        Tiling(256, 192)


def test_a_frame_no_larger_than_a_tile_is_decoded_whole() -> None:
    vae = VideoAutoencoder.load()
    latent = torch.randn(1, vae.channels, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    whole, tiled = (torch.cat(list(vae.decode_stream(latent, tiling)), dim=2) for tiling in (None, Tiling(64, 16)))
    assert torch.equal(whole, tiled)


def test_latents_of_tiles_are_those_of_the_whole() -> None:
    """Of real footage, far within the posterior's own spread, and a clip no larger than a tile to the bit."""
    vae = VideoAutoencoder.load()
    frames = media.decode_clip(Path(__file__).parents[3] / "examples/footage/a_station_vfr.mp4")[:5]
    video = F.interpolate(to_video(frames).transpose(0, 1), (128, 192), mode="bilinear", antialias=True)
    video = video.transpose(0, 1)[None]
    whole, tiled = vae.encode(video), vae.encode(video, Tiling(96, 32))
    assert tiled.mean.shape == whole.mean.shape
    difference = (tiled.mean - whole.mean).square().mean().sqrt() / whole.mean.std()
    assert 0 < difference < 0.05
    assert torch.equal(vae.encode(video, Tiling(256, 64)).mean, whole.mean)


def test_tiles_leave_no_seam() -> None:
    """Real footage in 2 x 3 small tiles against whole: far closer than H.264 keeps it, and nowhere, not along the
    tiles' borders either, does a row or column step further from its neighbour by half a grey level."""
    vae = VideoAutoencoder.load()
    frames = media.decode_clip(Path(__file__).parents[3] / "examples/footage/a_station_vfr.mp4")[:5]
    video = F.interpolate(to_video(frames).transpose(0, 1), (128, 192), mode="bilinear", antialias=True)
    latent = vae.encode(video.transpose(0, 1)[None]).mean
    whole, tiled = (torch.cat(list(vae.decode_stream(latent, tiling)), dim=2) for tiling in (None, Tiling(96, 32)))
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert psnr(tiled, whole).min() > 50
    difference = 127.5 * (tiled - whole)
    for axis, others in ((-1, (0, 1, 2, 3)), (-2, (0, 1, 2, 4))):
        assert difference.diff(dim=axis).abs().mean(others).max() < 0.5
