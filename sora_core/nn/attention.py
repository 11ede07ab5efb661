"""Attention inside the clips of a packed sequence: one function, the fastest backend of the device behind it."""

import importlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int32
from torch import Tensor

from sora_core.nn.transfer import upload

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the clips of a packed sequence begin and end: lengths for the host, offsets ``(n + 1,)`` for kernels.

    Both are kept so that no step has to read a length back from the device.
    """

    lengths: tuple[int, ...]
    offsets: Int32[Tensor, "n_plus_1"]

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device | str = "cpu") -> "Segments":
        return cls(lengths, upload(torch.tensor([0, *accumulate(lengths)], dtype=torch.int32), device))

    def to(self, device: torch.device | str) -> "Segments":
        return Segments(self.lengths, upload(self.offsets, device))

    def split(self, x: Float[Tensor, "l ..."]) -> tuple[Tensor, ...]:
        """The rows of each clip."""
        return torch.split(x, list(self.lengths))

    @property
    def total(self) -> int:
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        return max(self.lengths, default=0)


Kernel = Callable[[Tensor, Tensor, Tensor, Segments, Segments, float], Tensor]
BatchKernel = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def attention(
    q: Float[Tensor, "l heads d"],
    k: Float[Tensor, "m heads d"],
    v: Float[Tensor, "m heads d"],
    queries: Segments,
    keys: Segments,
    key_bias: Float[Tensor, " m"] | None = None,
) -> Float[Tensor, "l heads d"]:
    """Softmax attention in which segment i of ``q`` sees segment i of ``k`` and ``v`` only; differentiable.

    ``key_bias`` is added to the logits of a key, so a bias of ``log w`` makes it count as ``w`` equal keys. It rides in
    spare channels (``q`` holds 1, ``k`` holds the bias), because the variable-length kernels take no bias.
    """
    scale = q.shape[-1] ** -0.5
    kernel = choose_backend(q.device.type, q.dtype)
    if key_bias is None:
        return kernel(q, k, v, queries, keys, scale)
    width = q.shape[-1]
    q, k, v = _with_bias_channels(q, k, v, key_bias / scale)
    return kernel(q, k, v, queries, keys, scale)[..., :width]


# Flash kernels want head sizes in multiples of 8.
_SPARE_CHANNELS = 8


def _with_bias_channels(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v with spare channels whose product is ``bias``, split in high and low parts: 16 bits in any dtype."""
    high = bias.to(k.dtype)
    low = (bias - high.to(bias.dtype)).to(k.dtype)
    carried = torch.stack((high, low), dim=-1)[:, None].expand(-1, k.shape[1], -1)
    empty = _SPARE_CHANNELS - 2
    ones = F.pad(q.new_ones(*q.shape[:2], 2), (0, empty))
    return (
        torch.cat((q, ones), dim=-1),
        torch.cat((k, F.pad(carried, (0, empty))), dim=-1),
        F.pad(v, (0, _SPARE_CHANNELS)),
    )


@lru_cache(maxsize=8)
def choose_backend(device: str, dtype: torch.dtype) -> Kernel:
    """The fastest exact kernel for a device and dtype; logged once for each."""
    name = "equal lengths batched, torch SDPA"
    kernel: Kernel = partial(_batched, _sdpa)
    if device == "cpu" and dtype.itemsize == 2:
        name, kernel = "equal lengths batched, matmul-softmax-matmul", partial(_batched, _matmul)
    if device == "cuda" and dtype.itemsize == 2:
        if _has_flash_attn():
            name, kernel = "flash-attn, variable length", _flash_attn
        else:
            name, kernel = "torch varlen_attn", _torch_varlen
    log.info("attention on %s in %s: %s", device, dtype, name)
    return kernel


def _has_flash_attn() -> bool:
    """Whether the package has the kernel: others look like it, and some builds carry no variable-length one."""
    try:
        module = importlib.import_module("flash_attn")
    except (ImportError, OSError) as error:  # built for another torch or CUDA
        if importlib.util.find_spec("flash_attn") is not None:
            log.warning("flash_attn is installed and can't be loaded (%s): going without it", error)
        return False
    return callable(getattr(module, "flash_attn_varlen_func", None))


def _batched(
    mix: BatchKernel, q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, scale: float
) -> Tensor:
    """Clips of equal lengths run as one batch.

    Parts are cut with ``split``: a slice for each segment would make the backward quadratic in their number, for each
    slice's gradient is a zero tensor as long as the pack.
    """
    pairs = list(zip(queries.lengths, keys.lengths, strict=True))
    if len(set(pairs)) == 1:
        count = len(pairs)
        query, key, value = (rearrange(x, "(n l) h d -> n h l d", n=count) for x in (q, k, v))
        joined: Tensor = rearrange(mix(query, key, value, scale), "n h l d -> (n l) h d")
        return joined
    groups: dict[tuple[int, int], list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(pair, []).append(index)
    q_parts, k_parts, v_parts = queries.split(q), keys.split(k), keys.split(v)
    out: list[Tensor] = [q] * len(pairs)
    for members in groups.values():
        query, key, value = (
            torch.stack([parts[index] for index in members]).transpose(1, 2) for parts in (q_parts, k_parts, v_parts)
        )
        mixed = mix(query, key, value, scale).transpose(1, 2).unbind(0)
        for index, part in zip(members, mixed, strict=True):
            out[index] = part
    return torch.cat(out)


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, key_bias: Tensor | None = None
) -> Tensor:
    """`attention` by a fused kernel on any device: what it keeps for the backward is what the accelerators' keep."""
    scale = q.shape[-1] ** -0.5
    if key_bias is None:
        return _batched(_sdpa, q, k, v, queries, keys, scale)
    width = q.shape[-1]
    q, k, v = _with_bias_channels(q, k, v, key_bias / scale)
    return _batched(_sdpa, q, k, v, queries, keys, scale)[..., :width]


def _sdpa(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, scale=scale)


# 256 MiB of scores of 16 bits at a time.
_MAX_SCORES = 2**27


def _matmul(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The definition, in chunks of queries where the scores would be many.

    In 16 bits on a CPU the fused kernel is 3 to 9 times slower (a training step over 19 clips of 80 tokens: 15.5
    against 2.5 ms; 2,048 tokens of 12 heads: 711 against 240) for half the error (2e-3 against 4e-3).
    """
    batch, heads, _, _ = query.shape
    rows = max(256, _MAX_SCORES // (batch * heads * key.shape[2]))
    transposed = key.transpose(2, 3)
    chunks = torch.split(query * scale, rows, dim=2)
    mixed = [(chunk @ transposed).softmax(-1) @ value for chunk in chunks]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)


def _torch_varlen(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, scale: float) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    mixed = varlen_attn(q, k, v, queries.offsets, keys.offsets, queries.longest, keys.longest, scale=scale)
    assert isinstance(mixed, Tensor)  # a pair only when the log-sum-exp is asked for
    return mixed


def _flash_attn(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, scale: float) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    out: Tensor = flash_attn_varlen_func(
        q, k, v, queries.offsets, keys.offsets, queries.longest, keys.longest, softmax_scale=scale
    )
    return out
