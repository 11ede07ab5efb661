import pytest
import torch

from sora_core.nn.rope import axis_dims, rotate, rotations

POSITION = torch.tensor([[0, 0, 0], [2, 5, 1], [7, 3, 3], [1, 0, 6]])


def turned(x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    return rotate(x, rotations(position, x.shape[-1]))


def test_scores_depend_on_relative_positions_alone() -> None:
    q, k = torch.randn(2, 4, 3, 24, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([11, 4, 30])
    scores = torch.einsum("lhd,mhd->hlm", turned(q, POSITION), turned(k, POSITION))
    moved = torch.einsum("lhd,mhd->hlm", turned(q, POSITION + shift), turned(k, POSITION + shift))
    torch.testing.assert_close(scores, moved, rtol=1e-4, atol=1e-4)
    only_q = torch.einsum("lhd,mhd->hlm", turned(q, POSITION + shift), turned(k, POSITION))
    assert (scores - only_q).abs().max() > 0.1


def test_turning_keeps_lengths_and_the_origin() -> None:
    x = torch.randn(4, 2, 24, generator=torch.Generator().manual_seed(1))
    out = turned(x, POSITION)
    torch.testing.assert_close(out.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(out[0], x[0])


@pytest.mark.parametrize("head_dim", [6, 8, 24, 32, 64, 128])
def test_axes_share_a_head_as_in_the_open_weights(head_dim: int) -> None:
    time, height, width = axis_dims(head_dim)
    assert time + height + width == head_dim
    assert height == width == 2 * (head_dim // 6)


def test_each_axis_turns_its_own_channels() -> None:
    x = torch.ones(1, 1, 24)
    for axis, (start, end) in enumerate([(0, 8), (8, 16), (16, 24)]):
        position = torch.zeros(1, 3, dtype=torch.long)
        position[0, axis] = 3
        changed = (turned(x, position) != x)[0, 0].nonzero().flatten()
        assert changed.min() >= start
        assert changed.max() < end
