import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.errors import CheckpointError
from sora_core.training.optim import Muon, Optimizers, OptimRules, is_hidden_matrix, orthogonalize, rate

RULES = OptimRules(lr=1e-2, muon_lr=0.02, betas=(0.9, 0.95), weight_decay=0.0, warmup_clips=10, clip_norm=1.0)


def tiny() -> DiT:
    torch.manual_seed(0)
    return DiT(
        DiTConfig(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            text_dim=8,
            ffn_dim=24,
            num_layers=2,
        )
    )


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_orthogonalized_matrices_keep_directions_and_level_their_strengths(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    matrices = torch.randn(3, *shape)
    out = orthogonalize(matrices)
    strengths = torch.linalg.svdvals(out)
    assert float(strengths.min()) > 0.5
    assert float(strengths.max()) < 1.35
    for before, after in zip(matrices, out, strict=True):
        u, s, vh = torch.linalg.svd(before, full_matrices=False)
        along = u.mT @ after @ vh.mT
        assert float((along - along.diag().diag()).abs().max()) < 0.1
        assert float(along.diag()[s > 0.1 * s.max()].min()) > 0.5


def test_matrices_of_one_shape_move_together_as_they_would_alone() -> None:
    torch.manual_seed(2)
    start = [torch.randn(6, 4) for _ in range(3)]
    gradients = [torch.randn(6, 4) for _ in range(3)]

    def moved(groups: list[list[int]]) -> list[torch.Tensor]:
        parameters = [nn.Parameter(value.clone()) for value in start]
        for group in groups:
            muon = Muon([parameters[number] for number in group], lr=0.1)
            for number in group:
                parameters[number].grad = gradients[number].clone()
            muon.step()
        return [parameter.detach() for parameter in parameters]

    for together, alone in zip(moved([[0, 1, 2]]), moved([[0], [1], [2]]), strict=True):
        torch.testing.assert_close(together, alone, atol=2e-3, rtol=0)


def test_muon_takes_the_matrices_inside_blocks_and_adamw_everything_else() -> None:
    dit = tiny()
    taken = {name for name, parameter in dit.named_parameters() if is_hidden_matrix(name, parameter)}
    assert "blocks.0.attn1.to_q.weight" in taken
    assert "blocks.1.ffn.net.2.weight" in taken
    assert not any("scale_shift_table" in name or "norm" in name or name.endswith("bias") for name in taken)
    assert all(name.startswith("blocks.") for name in taken)
    optimizers = Optimizers(dit, RULES)
    counts = {name: sum(len(group["params"]) for group in part.param_groups) for name, part in optimizers.parts.items()}
    assert counts["muon"] == len(taken)
    assert sum(counts.values()) == len(list(dit.parameters()))


def test_a_rate_of_zero_for_muon_leaves_all_weights_to_adamw() -> None:
    rules = OptimRules(1e-3, None, (0.9, 0.95), 0.0, 0, 1.0)
    assert list(Optimizers(tiny(), rules).parts) == ["adamw"]


def take_over(optimizers: Optimizers, state: dict[str, torch.Tensor]) -> None:
    optimizers.make_room(state)
    room = optimizers.state()
    for name, value in state.items():
        room[name].copy_(value)


def test_state_taken_over_makes_the_same_next_step() -> None:
    first, second = tiny(), tiny()
    ours, theirs = Optimizers(first, RULES), Optimizers(second, RULES)

    def advance(dit: DiT, optimizers: Optimizers, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in dit.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizers.step(0.7)

    for seed in (1, 2, 3):
        advance(first, ours, seed)
    second.load_state_dict(first.state_dict())
    take_over(theirs, ours.state())
    advance(first, ours, 4)
    advance(second, theirs, 4)
    for (name, mine), other in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, other), name


def test_state_of_another_model_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"blocks\.9\.weight"):
        Optimizers(tiny(), RULES).make_room(["blocks.9.weight/exp_avg"])


def test_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"to_q\.weight was moved by another .*muon_lr"):
        Optimizers(tiny(), RULES).make_room(["blocks.0.attn1.to_q.weight/exp_avg"])


def test_the_rate_warms_up_by_clips_and_falls_to_zero_by_half_a_cosine() -> None:
    assert rate(1, 100, 5, RULES) == 0.5
    assert rate(1, 100, 10, RULES) == 1.0
    assert rate(51, 100, 500, RULES) == pytest.approx(0.5)
    assert rate(101, 100, 500, RULES) == pytest.approx(0.0)
    assert rate(26, 100, 500, replace(RULES, warmup_clips=0)) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_gradients_are_clipped_to_the_greatest_norm() -> None:
    dit = tiny()
    for parameter in dit.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers = Optimizers(dit, RULES)
    before = float(optimizers.clip())
    after = math.sqrt(sum(float(p.grad.square().sum()) for p in dit.parameters() if p.grad is not None))
    assert before == pytest.approx(math.sqrt(dit.num_params), rel=1e-4)
    assert after == pytest.approx(1.0, rel=1e-3)


def test_with_decay_steps_the_rate_stays_whole_and_then_falls_in_a_line_to_zero() -> None:
    rules = replace(RULES, decay_steps=20)
    assert [rate(step, 100, 500, rules) for step in (1, 80, 81, 91, 100)] == [1.0, 1.0, 1.0, 0.5, 0.05]
    assert rate(80, 200, 500, rules) == 1.0  # a run made longer goes on at the whole rate
