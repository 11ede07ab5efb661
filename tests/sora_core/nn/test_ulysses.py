"""Tokens on several workers attend as they would on one."""

import pytest
import torch
import torch.distributed as dist

from sora_core.nn.attention import Segments, attention
from sora_core.nn.ulysses import PartSegments, UlyssesAttention
from tests.groups import run

LENGTHS = (5, 1, 9, 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_parts_of_a_sequence_hold_every_token_of_every_clip_once(count: int) -> None:
    whole = Segments.of(LENGTHS)
    parts = [PartSegments.cut(whole, index, count) for index in range(count)]
    assert [token for part in parts for token in part.tokens] == list(range(whole.total))
    assert tuple(map(sum, zip(*(part.lengths for part in parts), strict=True))) == LENGTHS
    for part in parts:
        assert part.total == len(part.tokens)
        assert part.sizes == [other.total for other in parts]


def _attends_as_one(dtype: torch.dtype, tolerance: float) -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    whole = Segments.of(LENGTHS)
    leaves = [torch.randn(whole.total, 6, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3)]
    weight = torch.randn(whole.total, 6, 8, generator=generator).to(dtype)
    expected = attention(leaves[0], leaves[1], leaves[2], whole, whole)
    gradients = torch.autograd.grad(expected, leaves, weight)

    part = PartSegments.cut(whole, rank, size)
    own = slice(part.tokens.start, part.tokens.stop)
    mine = [leaf.detach()[own].requires_grad_() for leaf in leaves]
    group = dist.group.WORLD
    assert group is not None
    out = UlyssesAttention(group)(mine[0], mine[1], mine[2], part, part)
    torch.testing.assert_close(out, expected.detach()[own], atol=tolerance, rtol=0)
    for ours, theirs in zip(torch.autograd.grad(out, mine, weight[own]), gradients, strict=True):
        torch.testing.assert_close(ours, theirs[own], atol=tolerance, rtol=0)


def _attends_as_one_in_both_precisions() -> None:
    _attends_as_one(torch.float32, 2e-6)
    _attends_as_one(torch.bfloat16, 2e-2)


@pytest.mark.parametrize("workers", [2, 3])
def test_attention_over_workers_equals_attention_alone_forward_and_backward(workers: int) -> None:
    run(workers, _attends_as_one_in_both_precisions)
