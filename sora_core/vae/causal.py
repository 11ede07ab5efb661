"""AutoencoderKLWan with its causal feature cache driven from outside.

Wan's stock loop keeps the cache in the model, encodes four frames at a time, and clamps what it decodes. Here the cache
belongs to the call, so calls may interleave; chunks may be longer, which is faster; and training sees the values
before the clamp, which kills gradients.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# A chunk of this many pixels is where longer ones stop being faster on a CPU, and it fits any GPU.
_CHUNK_PIXELS = 2**20


def channels_last(vae: Any) -> Any:
    """The same network, its filters laid out as CPUs and GPUs like them best: 1.3 times as fast on a CPU."""
    for parameter in vae.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        elif parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return vae


def encode_moments(
    vae: Any, video: Float[Tensor, "b 3 t h w"], time: int = 4
) -> tuple[Float[Tensor, "b c lt lh lw"], Float[Tensor, "b c lt lh lw"]]:
    """Mean and log variance of the posterior; ``time`` frames make a latent one, after the first alone."""
    x = space_to_channels(video, vae.config.patch_size or 1)
    step = time * _latent_frames_at_once(time * video[:, 0, 0].numel())
    cache: list[Any] = [None] * vae._cached_conv_counts["encoder"]
    features = [vae.encoder(chunk, feat_cache=cache, feat_idx=[0]) for chunk in _chunks(x, step)]
    mean, log_variance = vae.quant_conv(torch.cat(features, dim=2)).chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def decode_chunks(
    vae: Any, latent: Float[Tensor, "b c lt lh lw"], frames: int = 1
) -> Iterator[Float[Tensor, "b 3 t h w"]]:
    """Unclamped pixels: of the first latent frame, then of every next ``frames`` of them."""
    x = vae.post_quant_conv(latent)
    cache: list[Any] = [None] * vae._cached_conv_counts["decoder"]
    for number, chunk in enumerate(_chunks(x, frames)):
        features = vae.decoder(chunk, feat_cache=cache, feat_idx=[0], first_chunk=number == 0)
        yield channels_to_space(features, vae.config.patch_size or 1)


def decode_unclamped(vae: Any, latent: Float[Tensor, "b c lt lh lw"]) -> Float[Tensor, "b 3 t h w"]:
    """All of `decode_chunks` in two chunks."""
    return torch.cat(list(decode_chunks(vae, latent, frames=max(1, latent.shape[2] - 1))), dim=2)


def frames_at_once(vae: Any, latent: Float[Tensor, "b c lt lh lw"]) -> int:
    """How many latent frames to decode in one chunk when nobody waits for the first."""
    scale = 4 * 4 ** (len(vae.config.dim_mult) - 1) * (vae.config.patch_size or 1) ** 2
    return _latent_frames_at_once(scale * latent[:, 0, 0].numel())


def _latent_frames_at_once(pixels_of_one: int) -> int:
    return max(1, _CHUNK_PIXELS // pixels_of_one)


def _chunks(x: Tensor, step: int) -> Iterator[Tensor]:
    """The first frame alone, as Wan needs it, then ``step`` frames at a time."""
    yield x[:, :, :1]
    for start in range(1, x.shape[2], step):
        yield x[:, :, start : start + step]


def space_to_channels(x: Tensor, patch: int) -> Tensor:
    """Patches as channels, in Wan's order: colour, then the column in the patch, then the row."""
    b, c, t, h, w = x.shape
    x = x.reshape(b, c, t, h // patch, patch, w // patch, patch)
    return x.permute(0, 1, 6, 4, 2, 3, 5).reshape(b, c * patch * patch, t, h // patch, w // patch)


def channels_to_space(x: Tensor, patch: int) -> Tensor:
    """The inverse of `space_to_channels`."""
    b, c, t, h, w = x.shape
    x = x.reshape(b, c // patch**2, patch, patch, t, h, w)
    return x.permute(0, 1, 4, 5, 3, 6, 2).reshape(b, c // patch**2, t, h * patch, w * patch)
