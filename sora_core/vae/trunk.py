"""The linear part of AutoencoderKLWan: its convolutions without residual branches, attention, norms or activations.

A network whose branches start at zero computes exactly this, so a good linear codec put here is where training begins.
Only the plain layout of Wan 2.1 has such a trunk (``is_residual=False``).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sora_core.vae.causal import channels_to_space, space_to_channels


def down_stages(vae: Any) -> list[tuple[Any, Any]]:
    """The encoder's levels as (residual blocks, resampler or None)."""
    return _stages(vae.encoder.down_blocks)


def up_stages(vae: Any) -> list[tuple[Any, Any]]:
    """The decoder's levels as (residual blocks, resampler or None)."""
    return [(list(block.resnets), block.upsamplers[0] if block.upsamplers else None) for block in vae.decoder.up_blocks]


def trunk_parameters(vae: Any) -> list[nn.Parameter]:
    """The parameters that `trunk_encode` and `trunk_decode` read."""
    modules = [vae.encoder.conv_in, vae.encoder.conv_out, vae.quant_conv, vae.post_quant_conv]
    modules += [vae.decoder.conv_in, vae.decoder.conv_out]
    for blocks, resampler in down_stages(vae) + up_stages(vae):
        modules += [block.conv_shortcut for block in blocks] + ([resampler] if resampler is not None else [])
    return [parameter for module in modules for parameter in module.parameters()]


def trunk_encode(vae: Any, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c lt lh lw"]:
    """The posterior mean that the trunk alone gives."""
    mean, _ = vae.quant_conv(vae.encoder.conv_out(encoder_features(vae, video))).chunk(2, dim=1)
    return torch.as_tensor(mean)


def trunk_decode(vae: Any, latent: Float[Tensor, "b c lt lh lw"]) -> Float[Tensor, "b 3 t h w"]:
    """The pixels, unclamped, that the trunk alone gives."""
    return channels_to_space(vae.decoder.conv_out(decoder_features(vae, latent)), vae.config.patch_size or 1)


def encoder_features(vae: Any, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b k lt lh lw"]:
    """What the trunk gives to the encoder's head."""
    return _through(down_stages(vae), vae.encoder.conv_in(space_to_channels(video, vae.config.patch_size or 1)))


def decoder_features(vae: Any, latent: Float[Tensor, "b c lt lh lw"]) -> Float[Tensor, "b k t h w"]:
    """What the trunk gives to the decoder's head."""
    return _through(up_stages(vae), vae.decoder.conv_in(vae.post_quant_conv(latent)))


def _through(stages: list[tuple[Any, Any]], x: Tensor) -> Tensor:
    for blocks, resampler in stages:
        for block in blocks:
            x = block.conv_shortcut(x)
        if resampler is not None:
            x = _chunked(resampler, x)
    return x


def _stages(layers: Any) -> list[tuple[Any, Any]]:
    stages: list[tuple[Any, Any]] = [([], None)]
    for layer in layers:
        if hasattr(layer, "resample"):
            stages[-1] = (stages[-1][0], layer)
            stages.append(([], None))
        else:
            stages[-1][0].append(layer)
    return stages


def _chunked(resampler: Any, x: Tensor) -> Tensor:
    """A resampler on the first frame, then on the rest: only later frames pass its convolution over time."""
    cache: list[Any] = [None]
    chunks = [x[:, :, :1], x[:, :, 1:]] if x.shape[2] > 1 else [x]
    return torch.cat([resampler(chunk, feat_cache=cache, feat_idx=[0]) for chunk in chunks], dim=2)
