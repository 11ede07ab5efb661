"""Distances are zero for equal pictures, grow with damage, and mean what the literature says."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sora_core.vae.metrics import psnr, ssim
from sora_core.vae.pca import PcaCodec
from sora_core.vae.perceptual import PerceptualDistance


def noisy(clips: Tensor, size: float) -> Tensor:
    return clips + size * torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))


def test_psnr_is_the_formula(real_clips: Tensor) -> None:
    score = psnr(real_clips, real_clips + 0.1)
    assert score.shape == (4, 9)
    torch.testing.assert_close(score, torch.full((4, 9), 10 * math.log10(4 / 0.01)), atol=1e-3, rtol=0)


def test_equal_pictures_have_ssim_one_and_noise_lowers_it(real_clips: Tensor) -> None:
    torch.testing.assert_close(ssim(real_clips, real_clips), torch.ones(4, 9))
    little, much = (ssim(real_clips, noisy(real_clips, size)).mean() for size in (0.05, 0.3))
    assert 1 > little > much


def test_ssim_is_the_published_formula_on_a_grey_frame(real_clips: Tensor) -> None:
    """Against OpenCV's Gaussian filter, on the region where no border is seen."""
    x, y = (v[0, :1, 0].double().numpy()[0] for v in (real_clips, noisy(real_clips, 0.1)))

    def blur(v: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(v, (11, 11), 1.5))[5:-5, 5:-5]

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = 0.02**2, 0.06**2
    expected = ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    grey = [torch.from_numpy(v).expand(1, 3, 1, 128, 128) for v in (x, y)]
    assert ssim(*grey).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_the_learned_distance_is_zero_alike_and_grows_with_damage(backbone: str, real_clips: Tensor) -> None:
    distance = PerceptualDistance(backbone)  # type: ignore[arg-type]
    frames = real_clips[:, :, 0]
    same, little, much = (distance(frames, other) for other in (frames, noisy(frames, 0.05), noisy(frames, 0.3)))
    assert same.shape == (4,)
    assert same.abs().max() < 1e-6
    assert (little > 0).all()
    assert (much > little).all()


def test_the_learned_distance_forgives_a_shift_of_one_pixel(real_clips: Tensor) -> None:
    """What the shift-tolerant weights are for: a shift costs less than noise of equal PSNR."""
    distance = PerceptualDistance()
    frames, shifted = real_clips[:, :, 0, :, :-1], real_clips[:, :, 0, :, 1:]
    size = (frames - shifted).square().mean().sqrt().item()
    assert distance(frames, shifted).mean() < 0.5 * distance(frames, noisy(frames, size)).mean()


def test_the_learned_distance_has_gradients(real_clips: Tensor) -> None:
    frames = noisy(real_clips[:1, :, 0], 0.1).requires_grad_()
    PerceptualDistance()(frames, real_clips[:1, :, 0]).sum().backward()
    assert frames.grad is not None
    assert frames.grad.abs().sum() > 0


def test_more_components_never_hurt_and_all_are_lossless(real_clips: Tensor) -> None:
    clips = real_clips[..., :64, :64]
    scores = []
    for channels in (1, 4, 16, 64):
        codec = PcaCodec.fit(clips, channels)
        scores.append(psnr(clips, codec.decode(codec.encode(clips))).mean().item())
    assert scores == sorted(scores)
    first = PcaCodec.fit(clips, 192)
    torch.testing.assert_close(first.decode(first.encode(clips[:, :, :1])), clips[:, :, :1], atol=1e-3, rtol=0)
