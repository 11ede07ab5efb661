"""Small layers with the parameter names of the open weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GeluProjection(nn.Module):
    """``gelu(x W + b)``; the gate of a feed-forward."""

    def __init__(self, dim: int, inner_dim: int, approximate: str) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner_dim)
        self.approximate = approximate

    def forward(self, x: Float[Tensor, "l d"]) -> Float[Tensor, "l f"]:
        return F.gelu(self.proj(x), approximate=self.approximate)


class FeedForward(nn.Module):
    """Two linear maps with a GELU between; keys ``net.0.proj`` and ``net.2``."""

    def __init__(self, dim: int, inner_dim: int, out_dim: int, approximate: str = "tanh") -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GeluProjection(dim, inner_dim, approximate), nn.Identity(), nn.Linear(inner_dim, out_dim)]
        )

    def forward(self, x: Float[Tensor, "l d"]) -> Float[Tensor, "l e"]:
        for layer in self.net:
            x = layer(x)
        return x


class _RootMeanSquare(torch.autograd.Function):
    """``x / rms(x) w`` with a backward of its own.

    Torch's takes CPUs four times as long (2,048 tokens of 128 values in 16 bits, forward and backward: 13.4 against
    3.1 ms), which was two fifths of a training step of a small model.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype.itemsize < 4 else x
        inverse = (wide.square().mean(-1, keepdim=True) + eps).rsqrt()
        normed = wide * inverse
        ctx.save_for_backward(normed, inverse, weight)
        return (normed * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        [gradient] = gradients
        normed, inverse, weight = ctx.saved_tensors
        wide = gradient.to(normed.dtype)
        by_weight = (wide * normed).sum(tuple(range(wide.ndim - 1)))
        scaled = wide * weight
        along = (scaled * normed).mean(-1, keepdim=True)
        return torch.addcmul(scaled, normed, along, value=-1).mul_(inverse).to(gradient.dtype), by_weight, None


class RMSNorm(nn.Module):
    """``x / rms(x)`` times a learned weight, in the dtype of ``x`` (the sum of squares in float32)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "l d"]) -> Float[Tensor, "l d"]:
        if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            apply: Callable[..., Tensor] = _RootMeanSquare.apply
            return apply(x, self.weight, self.eps)
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


class PatchEmbedding(nn.Module):
    """A linear map of flattened patches, its weight kept in the shape of the convolution that it equals."""

    def __init__(self, channels: int, dim: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, channels, *patch_size))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Float[Tensor, "l p"]) -> Float[Tensor, "l d"]:
        return F.linear(tokens, self.weight.flatten(1), self.bias)


def time_features(time: Float[Tensor, " n"], dim: int) -> Float[Tensor, "n dim"]:
    """Sinusoids of a time, cosines first: ``cos(t f_i), sin(t f_i)`` with ``f_i = 10000^(-2i / dim)``."""
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=time.device)
    angle = time.float()[:, None] * torch.exp(-math.log(10_000) * index / half)
    return torch.cat((angle.cos(), angle.sin()), dim=1)


def compute_dtype(x: Tensor) -> torch.dtype:
    """What matrix products of ``x`` run in: its own dtype, or autocast's. Casting once saves one cast a product."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def modulated_norm(
    x: Float[Tensor, "l d"], factor: Float[Tensor, "l d"], shift: Float[Tensor, "l d"], eps: float
) -> Float[Tensor, "l d"]:
    """``norm(x) factor + shift`` in float32, returned in the dtype of the products that follow."""
    normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    return torch.addcmul(shift, normed, factor).to(compute_dtype(x))


def affine_norm(norm: nn.LayerNorm, x: Float[Tensor, "l d"]) -> Float[Tensor, "l d"]:
    """A learned layer norm computed in float32, returned in the dtype of the products that follow."""
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.layer_norm(x.float(), norm.normalized_shape, weight, bias, norm.eps).to(compute_dtype(x))
