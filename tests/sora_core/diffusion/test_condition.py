import pytest
import torch

from sora_core.diffusion import condition
from sora_core.diffusion.condition import Condition
from sora_core.errors import InputError
from sora_core.shapes import Patch

X = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))


def test_nothing_given_leaves_everything_free() -> None:
    free = condition.none(3, 4, 6)
    assert torch.equal(free.apply(X), X)
    assert free.sigma_tokens(0.7, Patch()) == 0.7


def test_what_is_given_is_given_exactly_and_has_sigma_zero() -> None:
    mask = torch.zeros(3, 4, 6, dtype=torch.bool)
    mask[0] = True
    given = Condition(mask, torch.ones(2, 3, 4, 6))
    out = given.apply(X)
    assert torch.equal(out[:, :1], torch.ones(2, 1, 4, 6))
    assert torch.equal(out[:, 1:], X[:, 1:])
    sigma = given.sigma_tokens(0.7, Patch())
    assert isinstance(sigma, torch.Tensor)
    torch.testing.assert_close(sigma, torch.tensor([0.0] * 6 + [0.7] * 12))


def test_a_sample_begins_with_noise_or_the_noised_start() -> None:
    mask = torch.zeros(3, 4, 6, dtype=torch.bool)
    mask[2] = True
    start, noise = torch.ones_like(X), X
    assert torch.equal(condition.none(3, 4, 6).begin(noise, 1.0), noise)
    begun = Condition(mask, 5 * start, start=start).begin(noise, 0.25)
    torch.testing.assert_close(begun[:, :2], 0.75 * start[:, :2] + 0.25 * noise[:, :2])
    assert torch.equal(begun[:, 2], 5 * start[:, 2])


def test_tokens_of_a_mask_are_in_the_order_of_a_pack() -> None:
    mask = torch.zeros(3, 4, 6, dtype=torch.bool)
    mask[1, 2:, :2] = True
    tokens = Condition(mask, X).tokens(Patch())
    assert tokens.nonzero().flatten().tolist() == [6 + 3]


def test_wrong_conditions_are_refused() -> None:
    mask = torch.zeros(3, 4, 6, dtype=torch.bool)
    with pytest.raises(InputError, match="same frames, height and width"):
        Condition(mask[:2], X)
    with pytest.raises(InputError, match="a start of"):
        Condition(mask, start=X[:, :2])
    mask[0, 0, 0] = True
    with pytest.raises(InputError, match="without the latents"):
        Condition(mask)
    with pytest.raises(InputError, match="align it to whole patches"):
        Condition(mask, X).tokens(Patch())
