"""From the linear trunk to the whole network without changing what it computes (much): norms, activations, branches.

In front of each head stand a norm and a SiLU. The level before it is rebuilt to carry (x, -x, K): with K large and
constant the norm divides by nearly the same number everywhere, and silu(x) - silu(-x) = x makes the head linear again.
Residual branches begin small and attention at zero.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core.vae.trunk import decoder_features, down_stages, encoder_features, trunk_encode, up_stages

_HEADROOM = 16.0  # K in root mean squares of |x|: the norm then varies by 1 / 256 at a typical position
_BRANCH_SCALE = 0.02
_LOG_VARIANCE = -6.0


@torch.no_grad()
def open_branches(vae: Any, clips: Float[Tensor, "b 3 t h w"]) -> None:
    """Make the whole network compute, nearly, what its trunk does on such clips; in place, after `warm_start`."""
    latent = trunk_encode(vae, clips)
    for name, parameter in vae.named_parameters():
        if name.endswith((".conv2.weight", ".conv2.bias")):
            parameter.mul_(_BRANCH_SCALE)
        elif ".attentions." in name and ".proj." in name:
            parameter.zero_()
    blocks, _ = down_stages(vae)[-1]
    inner = blocks[1:] + list(vae.encoder.mid_block.resnets)
    _linearise(encoder_features(vae, clips), blocks[0].conv_shortcut, vae.encoder, inner)
    (blocks, _), (_, resampler) = up_stages(vae)[-1], up_stages(vae)[-2]
    _linearise(decoder_features(vae, latent), resampler.resample[1], vae.decoder, blocks)
    channels = vae.config.z_dim
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = _LOG_VARIANCE


def _linearise(features: Tensor, entry: Any, coder: Any, blocks: list[Any]) -> None:
    """Rebuild the channels between ``entry``, the convolution that makes them, and the head ``coder.conv_out``.

    ``blocks`` read those channels. Of the ``features`` that they were, what matters least to the head gives way to K.
    """
    head = coder.conv_out
    width = head.weight.shape[1]
    kept = (width - 1) // 2
    columns = features.transpose(0, 1).flatten(1)
    moments = columns @ columns.T / columns.shape[1]
    directions, back = _most_used(head.weight.transpose(0, 1).flatten(1), moments, kept)
    rows = torch.zeros(width, width)
    rows[:kept], rows[kept : 2 * kept] = directions, -directions
    entry.weight.copy_(torch.tensordot(rows, entry.weight, dims=1))
    entry.bias.copy_(rows @ entry.bias)
    constant = _HEADROOM * kept**0.5  # each direction has unit size
    entry.bias[2 * kept :] = constant
    weight = torch.einsum("o c t h w, c k -> o k t h w", head.weight, back)
    head.weight.zero_()
    head.weight[:, :kept], head.weight[:, kept : 2 * kept] = weight, -weight
    for norm in [block.norm1 for block in blocks] + [coder.norm_out]:
        norm.gamma[: 2 * kept] = constant * ((width - 2 * kept) / width) ** 0.5
        norm.gamma[2 * kept :] = 1 / width**0.5


def _most_used(reads: Tensor, moments: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """D (num, c) and B (c, num) such that reads.T @ B @ D @ x is nearest to reads.T @ x, and D @ x is white."""
    values, vectors = torch.linalg.eigh(moments.double())
    values = values.clamp(min=values[-1] * 1e-9)
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    _, _, right = torch.linalg.svd(reads.double().T @ root, full_matrices=False)
    return (right[:num] @ inverse).float(), (root @ right[:num].T).float()
