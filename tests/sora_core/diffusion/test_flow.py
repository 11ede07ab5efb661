import pytest
import torch

from sora_core.diffusion import flow
from sora_core.diffusion.flow import ShiftLaw


def test_one_seed_one_noise() -> None:
    assert torch.equal(flow.noise(3, (4, 5)), flow.noise(3, (4, 5)))
    assert not torch.equal(flow.noise(3, (4, 5)), flow.noise(4, (4, 5)))
    torch.manual_seed(1)
    first = flow.noise(3, (2,))
    torch.manual_seed(2)
    assert torch.equal(first, flow.noise(3, (2,)))


def test_target_is_the_slope_of_the_path() -> None:
    x, noise = torch.randn(2, 6, dtype=torch.float64)
    slope = (flow.add_noise(x, noise, 0.51) - flow.add_noise(x, noise, 0.49)) / 0.02
    torch.testing.assert_close(slope, flow.target(x, noise))
    assert torch.equal(flow.add_noise(x, noise, 0.0), x)
    assert torch.equal(flow.add_noise(x, noise, 1.0), noise)


def test_given_tokens_carry_no_loss() -> None:
    prediction, wanted = torch.randn(2, 6, 3)
    sigma = torch.tensor([0.0, 0.5, 0.5, 0.0, 0.3, 0.3])
    cu_seqlens = torch.tensor([0, 3, 6], dtype=torch.int32)
    base = flow.loss(prediction, wanted, sigma, cu_seqlens)
    prediction[[0, 3]] += 100.0
    assert torch.equal(flow.loss(prediction, wanted, sigma, cu_seqlens), base)


def test_a_photograph_weighs_as_much_as_a_film() -> None:
    prediction = torch.cat((torch.full((1, 2), 3.0), torch.full((9, 2), 1.0)))
    value = flow.loss(prediction, torch.zeros(10, 2), torch.ones(10), torch.tensor([0, 1, 10], dtype=torch.int32))
    assert float(value) == pytest.approx((9 + 1) / 2)


def test_a_clip_that_is_given_whole_does_not_count() -> None:
    prediction = torch.full((4, 2), 2.0, requires_grad=True)
    sigma = torch.tensor([0.0, 0.0, 0.5, 0.5])
    value = flow.loss(prediction, torch.zeros(4, 2), sigma, torch.tensor([0, 2, 4], dtype=torch.int32))
    value.backward()
    assert value.item() == pytest.approx(4.0)
    assert prediction.grad is not None
    assert prediction.grad[:2].eq(0).all()
    assert prediction.grad[2:].gt(0).all()


@pytest.mark.parametrize(("shift", "spread"), [(1.0, 1.0), (3.0, 0.5), (6.0, 1.7)])
def test_times_follow_the_shifted_logit_normal(shift: float, spread: float) -> None:
    u = (torch.arange(2001, dtype=torch.float64) + 0.5) / 2001
    sigma = flow.sample_sigma(u, [64] * 2001, ShiftLaw(shift), spread)
    assert sigma.gt(0).all()
    assert sigma.lt(1).all()
    assert float(sigma.median()) == pytest.approx(shift / (1 + shift), abs=1e-3)
    unshifted = sigma / (shift - (shift - 1) * sigma)
    logits = unshifted.logit()
    assert float(logits.mean()) == pytest.approx(0, abs=1e-6)
    assert float(logits.std()) == pytest.approx(spread, rel=5e-3)


def test_shift_grows_with_the_square_root_of_tokens() -> None:
    law = ShiftLaw(3.0, tokens=100)
    assert law.shift_for(100) == 3.0
    assert law.shift_for(400) == 6.0
    assert law.shift_for(1) == 1.0
    assert ShiftLaw(3.0).shift_for(7) == ShiftLaw(3.0).shift_for(70_000) == 3.0
    sigma = flow.sample_sigma(torch.tensor([0.5, 0.5]), [100, 400], law)
    torch.testing.assert_close(sigma, torch.tensor([3 / 4, 6 / 7]))
