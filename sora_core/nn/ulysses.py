"""Attention over a sequence whose tokens lie on several workers (Jacobs et al. 2023, DeepSpeed Ulysses).

Each worker trades its tokens of all heads for all tokens of its heads, attends as one alone would, and trades back.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sora_core.nn.attention import Segments, attention
from sora_core.nn.transfer import upload


def share(total: int, index: int, count: int) -> range:
    """The tokens of part ``index`` of ``count``: neighbours, as evenly as they go."""
    return range(total * index // count, total * (index + 1) // count)


@dataclass(frozen=True, slots=True)
class PartSegments(Segments):
    """Where the clips lie in one part of a packed sequence, and in the ``whole``; some may be empty here."""

    whole: Segments
    index: int
    count: int

    @classmethod
    def cut(cls, whole: Segments, index: int, count: int) -> "PartSegments":
        """Part ``index`` of ``count`` of a sequence."""
        own = share(whole.total, index, count)
        lengths, begin = [], 0
        for length in whole.lengths:
            lengths.append(max(0, min(own.stop, begin + length) - max(own.start, begin)))
            begin += length
        local = Segments.of(tuple(lengths), whole.offsets.device)
        return cls(local.lengths, local.offsets, whole, index, count)

    def to(self, device: torch.device | str) -> "PartSegments":
        return PartSegments(self.lengths, upload(self.offsets, device), self.whole.to(device), self.index, self.count)

    @property
    def tokens(self) -> range:
        """Where this part lies in the whole."""
        return share(self.whole.total, self.index, self.count)

    @property
    def sizes(self) -> list[int]:
        """Tokens of every part."""
        return [len(share(self.whole.total, index, self.count)) for index in range(self.count)]


class UlyssesAttention:
    """Takes `attention`'s place where each worker of a group holds a part of the queries, keys and values."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group

    def __call__(
        self,
        q: Float[Tensor, "l heads d"],
        k: Float[Tensor, "l heads d"],
        v: Float[Tensor, "l heads d"],
        queries: Segments,
        keys: Segments,
    ) -> Float[Tensor, "l heads d"]:
        """`attention` of this part's tokens to all tokens of their clips; differentiable."""
        assert isinstance(queries, PartSegments)
        assert queries is keys, "self-attention"
        parts = queries.count
        sent = rearrange(torch.cat((q, k, v), dim=-1), "l (parts heads) d -> (parts l) heads d", parts=parts)
        mine = [len(queries.tokens)] * parts
        whole_q, whole_k, whole_v = _exchange(sent, mine, queries.sizes, self._group).chunk(3, dim=-1)
        mixed = attention(whole_q, whole_k, whole_v, queries.whole, queries.whole)
        back = _exchange(mixed, queries.sizes, mine, self._group)
        out: Tensor = rearrange(back, "(parts l) heads d -> l (parts heads) d", parts=parts)
        return out


def _exchange(x: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    out = _AllToAll.apply(x, sent, received, group)  # type: ignore[no-untyped-call]
    assert isinstance(out, Tensor)
    return out


class _AllToAll(torch.autograd.Function):
    """Rows to and from every worker of a group; their gradients go the way back."""

    @staticmethod
    def forward(ctx, x, sent, received, group):  # type: ignore[no-untyped-def]
        ctx.sizes = sent, received, group
        out = x.new_empty(sum(received), *x.shape[1:])
        dist.all_to_all_single(out, x.contiguous(), received, sent, group=group)
        return out

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        sent, received, group = ctx.sizes
        out = gradient.new_empty(sum(sent), *gradient.shape[1:])
        dist.all_to_all_single(out, gradient.contiguous(), sent, received, group=group)
        return out, None, None, None
