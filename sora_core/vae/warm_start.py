"""A linear start for AutoencoderKLWan: the encoder computes a PCA codec, the decoder its least-squares inverse.

Wan skips the convolutions over time for the first frame. So the first frame and the later ones can have bases of their
own although they share every spatial convolution: the encoder's `time_conv` replaces the coefficients of later frames,
and the decoder's moves later frames to channels that the first never uses.

The stages are named by what one position holds: `code` = one frame's 4x4 pixels, `pair` = two frames' codes,
`latent` = a first frame's 8x8 pixels or two pairs'.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sora_core.errors import InputError
from sora_core.vae.causal import space_to_channels
from sora_core.vae.pca import Basis, principal_components
from sora_core.vae.trunk import down_stages, trunk_encode, trunk_parameters, up_stages

_LAYOUT = {"patch_size": 2, "is_residual": False, "temperal_downsample": [True, True], "dim_mult": [1, 2, 4]}


@dataclass(frozen=True, slots=True)
class _Bases:
    code: Basis  # 2x2 patches of 12 channels -> one code
    pair: Tensor  # (pair, 2 * code)
    square: Tensor  # (wide, 4 * pair): 2x2 pairs; its first rows are the first frame's latent
    latent: Tensor  # (latent, 2 * wide): two squares -> a later latent
    first_std: Tensor
    later_std: Tensor


@torch.no_grad()
def warm_start(vae: Any, clips: Float[Tensor, "b 3 t h w"]) -> None:
    """Set the trunk in place from clips in [-1, 1] of 4k + 1 frames, k >= 1; branches and heads stay as they are.

    InputError when the layout has no such start.
    """
    for name, value in _LAYOUT.items():
        if vae.config[name] != value:
            raise InputError(f"{name} = {vae.config[name]!r}: the linear start needs {value!r}; set warm_start = false")
    if vae.config.z_dim > vae.config.base_dim or vae.config.base_dim < 12:
        raise InputError(
            f"z_dim = {vae.config.z_dim} with base_dim = {vae.config.base_dim}: the linear start needs as many base "
            "channels as latent ones, and 12; set warm_start = false"
        )
    for parameter in trunk_parameters(vae):
        parameter.zero_()
    patches = space_to_channels(clips, 2)
    bases = _fit(patches, vae)
    _set_encoder(vae, bases)
    _set_decoder(vae, bases, patches, trunk_encode(vae, clips))


def _fit(patches: Tensor, vae: Any) -> _Bases:
    base, wide = vae.config.base_dim, vae.config.base_dim * vae.config.dim_mult[1]
    channels = vae.config.z_dim
    blocks = rearrange(patches, "b c t (h y) (w x) -> b t h w (c y x)", y=2, x=2)
    code = principal_components(blocks.flatten(0, -2), base)
    codes = code.project(blocks)
    pair = _pair_rows(base)
    pairs = torch.cat((codes[:, 1::2], codes[:, 2::2]), dim=-1) @ pair.T
    first, later = (rearrange(v, "b t (h y) (w x) c -> b t h w (c y x)", y=2, x=2) for v in (codes[:, :1], pairs))
    first_rows = principal_components(first.flatten(0, -2), channels).rows
    square = torch.cat((first_rows, _complement(later.flatten(0, -2), first_rows, wide - channels)))
    squares = later @ square.T
    joined = torch.cat((squares[:, ::2], squares[:, 1::2]), dim=-1).flatten(0, -2)
    latent = principal_components(joined, channels).rows
    first_std = (first @ first_rows.T).flatten(0, -2).std(0)
    return _Bases(code, pair, square, latent, first_std, (joined @ latent.T).std(0))


def _pair_rows(base: int) -> Tensor:
    """Sums of two frames' codes, and differences of the largest quarter of them in place of the smallest sums."""
    differences = base // 4
    rows = torch.zeros(base, 2, base)
    for channel in range(base):
        source = channel if channel < base - differences else channel - (base - differences)
        rows[channel, 0, source] = 0.5**0.5
        rows[channel, 1, source] = 0.5**0.5 if channel == source else -(0.5**0.5)
    return rows.flatten(1)


def _complement(blocks: Tensor, rows: Tensor, num: int) -> Tensor:
    """The ``num`` principal directions of what ``rows`` leave of the blocks."""
    return principal_components(blocks - blocks @ rows.T @ rows, num).rows


def _set_encoder(vae: Any, bases: _Bases) -> None:
    (_, down0), (blocks1, down1), (blocks2, _) = down_stages(vae)
    base, channels = vae.config.base_dim, vae.config.z_dim
    _identity(vae.encoder.conv_in.weight[:, :, 2, 1, 1], 12)
    down0.resample[1].weight[:, :12, :2, :2] = rearrange(bases.code.rows, "o (c y x) -> o c y x", y=2, x=2)
    down0.resample[1].bias.copy_(-bases.code.rows @ bases.code.mean)
    down0.time_conv.weight[:, :, 1:, 0, 0] = rearrange(bases.pair, "o (s c) -> o c s", s=2)
    for block in blocks1 + blocks2:
        if hasattr(block.conv_shortcut, "weight"):
            _identity(block.conv_shortcut.weight[:, :, 0, 0, 0], block.conv_shortcut.weight.shape[1])
    square = bases.square.clone()
    down1.resample[1].weight[:, :base, :2, :2] = rearrange(square, "o (c y x) -> o c y x", y=2, x=2)
    # The head is one for both kinds of frames: the first frame's scale is folded into the square, and taken back below.
    ratio = bases.later_std / bases.first_std
    down1.resample[1].weight[:channels] *= ratio[:, None, None, None]
    latent = rearrange(bases.latent, "o (s c) -> o c s", s=2).clone()
    latent[:, :channels] /= ratio[None, :, None]
    down1.time_conv.weight[:channels, :, 1:, 0, 0] = latent
    _identity(vae.encoder.conv_out.weight[:, :, 2, 1, 1], channels)
    vae.quant_conv.weight[:channels, :channels, 0, 0, 0] = torch.diag(1 / bases.later_std)


def _set_decoder(vae: Any, bases: _Bases, patches: Tensor, latent: Tensor) -> None:
    (blocks0, up0), (blocks1, up1), (blocks2, _) = up_stages(vae)
    channels, base = vae.config.z_dim, vae.config.base_dim
    vae.post_quant_conv.weight[:, :, 0, 0, 0] = torch.eye(channels)
    _identity(vae.decoder.conv_in.weight[:, :, 2, 1, 1], channels)
    for block in blocks0 + blocks1 + blocks2:
        if hasattr(block.conv_shortcut, "weight"):
            _identity(block.conv_shortcut.weight[:, :, 0, 0, 0], block.conv_shortcut.weight.shape[1])
    codes = bases.code.project(rearrange(patches, "b c t (h y) (w x) -> b t h w (c y x)", y=2, x=2))
    codes = rearrange(codes, "b t h w c -> b c t h w")
    by_two = rearrange(codes[:, :, 1:], "b c (t s) h w -> b (s c) t h w", s=2)
    pairs = torch.einsum("p k, b k t h w -> b p t h w", bases.pair, by_two)
    # Later latents go to two groups of channels, one for each pair; the first frame's stays in the channels before.
    for half in range(2):
        rows = slice(half * up0.dim + channels * (1 + half), half * up0.dim + channels * (2 + half))
        up0.time_conv.weight[rows, :channels, 2, 0, 0] = torch.eye(channels)
    weight = up0.resample[1].weight
    _regress(weight[:base, :channels], latent[:, :, :1], codes[:, :, :1])
    for half in range(2):
        group = slice(channels * (1 + half), channels * (2 + half))
        _regress(weight[base:, group], latent[:, :, 1:], pairs[:, :, half::2])
    # A pair becomes two codes, in the channels where the first frame's code already is.
    inverse = rearrange(torch.linalg.pinv(bases.pair), "(s c) p -> s c p", s=2)
    for half in range(2):
        up1.time_conv.weight[half * up1.dim : half * up1.dim + base, base : 2 * base, 2, 0, 0] = inverse[half]
    mean = rearrange(bases.code.mean, "(c y x) -> c y x", y=2, x=2).mean((1, 2))
    _identity(vae.decoder.conv_out.weight[:, :, 2, 1, 1], 12)
    up1.resample[1].bias[:12] = mean
    _regress(up1.resample[1].weight[:12, :base], codes, patches - mean[:, None, None, None])


def _regress(weight: Tensor, source: Tensor, target: Tensor) -> None:
    """Least squares: the 3x3 filters that predict ``target`` from ``source`` enlarged twice."""
    source = F.interpolate(source.transpose(1, 2).flatten(0, 1), scale_factor=2.0, mode="nearest-exact")
    target = target.transpose(1, 2).flatten(0, 1)
    inputs = weight.shape[1] * 9
    gram, cross = (
        torch.zeros(inputs, inputs, dtype=torch.float64),
        torch.zeros(inputs, len(weight), dtype=torch.float64),
    )
    for frames, wanted in zip(source.split(64), target.split(64), strict=True):
        columns = rearrange(F.unfold(frames, 3, padding=1), "b k n -> (b n) k").double()
        gram += columns.T @ columns
        cross += columns.T @ rearrange(wanted, "b o h w -> (b h w) o").double()
    gram += torch.eye(inputs, dtype=torch.float64) * gram.diagonal().mean() * 1e-6
    weight.copy_(rearrange(torch.linalg.solve(gram, cross), "(c y x) o -> o c y x", y=3, x=3).float())


def _identity(weight: Tensor, num: int) -> None:
    weight[:num, :num] = torch.eye(num)
