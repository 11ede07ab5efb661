import pytest
from hypothesis import given
from hypothesis import strategies as st

from sora_core.errors import InputError
from sora_core.shapes import Compression, LatentShape, Patch, PixelShape, fit_area

WAN = Compression()


@given(st.integers(1, 500))
def test_latent_frames_and_pixel_frames_are_inverse(latent_frames: int) -> None:
    assert WAN.latent_frames(WAN.pixel_frames(latent_frames)) == latent_frames


@given(st.integers(1, 2000))
def test_trimming_keeps_all_but_at_most_three_frames(frames: int) -> None:
    kept = WAN.trim_frames(frames)
    assert 0 <= frames - kept < WAN.time
    WAN.latent_frames(kept)


@pytest.mark.parametrize("frames", [0, -3, 2, 16, 18])
def test_a_length_that_is_not_4k_plus_1_names_lengths_that_are(frames: int) -> None:
    with pytest.raises(InputError, match=r"use \d+ or \d+"):
        WAN.latent_frames(frames)


def test_pixels_and_latents_are_inverse() -> None:
    pixels = PixelShape(17, 64, 112)
    latent = WAN.latent(pixels, channels=16)
    assert latent == LatentShape(16, 5, 8, 14)
    assert WAN.pixels(latent) == pixels


@given(
    height=st.integers(64, 4000),
    width=st.integers(64, 4000),
    area=st.integers(64 * 64, 2048 * 2048),
)
def test_the_pixel_rule_keeps_aspect_never_enlarges_and_cuts_under_16(height: int, width: int, area: int) -> None:
    try:
        fit = fit_area(height, width, area)
    except InputError:
        assert min(height, width) * (area / (height * width)) ** 0.5 < 17
        return
    assert fit.scaled_height <= height
    assert fit.scaled_width <= width
    assert fit.height % 16 == fit.width % 16 == 0
    assert 0 <= fit.scaled_height - fit.height < 16
    assert 0 <= fit.scaled_width - fit.width < 16
    assert abs(fit.scaled_width - width * fit.scaled_height / height) <= 0.5 + 0.5 * width / height


def test_an_indivisible_latent_is_refused_with_its_sizes() -> None:
    with pytest.raises(InputError, match="5x7x8"):
        Patch().grid(LatentShape(16, 5, 7, 8))


def test_tokens_count_every_patch_once() -> None:
    assert Patch().grid(LatentShape(16, 5, 8, 14)).num_tokens == 5 * 4 * 7
