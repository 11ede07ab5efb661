"""What training an autoencoder minimises, term by term; each a mean, so that batches of any size weigh alike."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sora_core.precision import autocast
from sora_core.vae.causal import decode_unclamped, encode_moments
from sora_core.vae.metrics import ssim
from sora_core.vae.perceptual import PerceptualDistance

_CHARBONNIER_SCALE = 0.03  # the loss is quadratic for errors below it, linear above; pixels in [-1, 1]


@dataclass(frozen=True, slots=True)
class Losses:
    """One batch's terms, unweighted; ``perceptual`` is 0 where it was not asked for."""

    reconstruction: Float[Tensor, ""]
    structure: Float[Tensor, ""]
    kl: Float[Tensor, ""]
    perceptual: Float[Tensor, ""]


def autoencoding(
    vae: Any,
    clips: Float[Tensor, "b 3 t h w"],
    noise: Float[Tensor, "b c lt lh lw"],
    perceptual: PerceptualDistance | None = None,
    looked_at: Int[Tensor, " b"] | None = None,
    *,
    precision: torch.dtype = torch.float32,
) -> Losses:
    """Encode, draw from the posterior with ``noise``, decode, compare.

    ``looked_at`` is the number of the frame, in each clip, that the perceptual distance sees. Products are taken in
    ``precision``.
    """
    with autocast(clips.device, precision):
        mean, log_variance = (value.float() for value in encode_moments(vae, clips))
        pixels = decode_unclamped(vae, mean + noise * (0.5 * log_variance).exp()).float()
        distance = torch.zeros((), device=clips.device)
        if perceptual is not None and looked_at is not None:
            row = torch.arange(len(clips))
            distance = perceptual(pixels[row, :, looked_at], clips[row, :, looked_at]).float().mean()
    return Losses(reconstruction(pixels, clips), 1 - ssim(pixels, clips).mean(), kl(mean, log_variance), distance)


def reconstruction(pixels: Float[Tensor, "b 3 t h w"], target: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, ""]:
    """mean sqrt(error^2 + s^2) - s (Charbonnier et al. 1994), the first frame counted twice.

    It is the hardest: nothing before it helps, and a photograph is nothing else.
    """
    error = torch.sqrt((pixels - target).square() + _CHARBONNIER_SCALE**2) - _CHARBONNIER_SCALE
    frames = error.mean((0, 1, 3, 4))
    return (frames[0] + frames.sum()) / (len(frames) + 1)


def kl(mean: Float[Tensor, "..."], log_variance: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Of the posterior from the unit normal, mean over latent values, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
