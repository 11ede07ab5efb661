"""Statistics of latents don't depend on how they were gathered, and whitening undoes itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sora_core.errors import InputError
from sora_core.vae.whitening import Whitening, WhiteningStatistics

SCALES = torch.tensor([0.1, 1.0, 30.0])[:, None, None, None]


def clips() -> list[Tensor]:
    """Three channels of very different size, far from zero, in clips of many shapes."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 2, 3), (4, 2, 2), (3, 5, 1), (2, 8, 8)]
    return [torch.randn(3, *shape, generator=generator) * SCALES + 100 for shape in shapes]


def gathered(parts: list[Tensor]) -> WhiteningStatistics:
    statistics = WhiteningStatistics()
    for part in parts:
        statistics.update(part)
    return statistics


def test_inverting_undoes_applying() -> None:
    whitening = gathered(clips()).result()
    for latent in (clips()[0], torch.stack([clips()[1]] * 2)):
        torch.testing.assert_close(whitening.invert(whitening.apply(latent)), latent)


def test_full_whitening_makes_every_channel_a_unit_one() -> None:
    whitening = gathered(clips()).result(power=1.0)
    values = torch.cat([whitening.apply(clip).flatten(1) for clip in clips()], dim=1)
    torch.testing.assert_close(values.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(1, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_no_whitening_keeps_proportions_and_half_lies_between() -> None:
    statistics = gathered(clips())
    none, half, full = (torch.tensor(statistics.result(power).std) for power in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, none[:1].expand(3))
    torch.testing.assert_close(half, (none * full).sqrt())


@settings(max_examples=20, deadline=None)
@given(split=st.integers(0, 4), order=st.permutations(range(4)))
def test_merged_statistics_are_those_of_one_pass(split: int, order: list[int]) -> None:
    shuffled = [clips()[index] for index in order]
    merged = gathered(shuffled[:split])
    merged.merge(gathered(shuffled[split:]))
    everything = torch.cat([clip.double().flatten(1) for clip in clips()], dim=1)
    result = merged.result(power=1.0)
    assert merged.count == everything.shape[1]
    torch.testing.assert_close(torch.tensor(result.mean).double(), everything.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.tensor(result.std).double(), everything.std(1, correction=0), rtol=1e-5, atol=0)


def test_nothing_counted_and_wrong_channels_are_named() -> None:
    with pytest.raises(InputError, match="no latents"):
        WhiteningStatistics().result()
    with pytest.raises(InputError, match="5 channels and statistics of 2"):
        Whitening((0.0, 0.0), (1.0, 1.0)).apply(torch.zeros(5, 1, 2, 2))
    with pytest.raises(InputError, match="2 means and divisors"):
        Whitening((0.0, 0.0), (1.0, 0.0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_before_it_spoils_the_rest(value: float) -> None:
    statistics = gathered(clips())
    spoilt = clips()[1].clone()
    spoilt[1, 0, 0, 0] = value
    before = statistics.to_dict()
    with pytest.raises(InputError, match="isn't finite"):
        statistics.update(spoilt)
    assert statistics.to_dict() == before
    stored = before | {"mean": [1.0, value, 1.0]}
    with pytest.raises(InputError, match="aren't finite"):
        WhiteningStatistics.from_dict(stored).result()


def test_variances_after_whitening_follow_from_the_divisors() -> None:
    latents = torch.randn(3, 2, 40, 40) * torch.tensor([0.3, 1.0, 2.5])[:, None, None, None]
    statistics = gathered([latents])
    for power in (0.25, 0.5, 1.0):
        whitening = statistics.result(power)
        after = whitening.apply(latents).flatten(1).var(1, unbiased=False)
        assert whitening.variances(power) == pytest.approx(after.tolist(), rel=1e-4)


def test_later_frames_may_have_statistics_of_their_own_and_come_back() -> None:
    latents = torch.randn(2, 3, 4, 8, 8) * torch.tensor([1.0, 3.0, 3.0, 3.0])[:, None, None] + 1
    later = gathered([latents[:, :, 1:].transpose(0, 1).flatten(1, 2)]).result()
    whitening = gathered([latents[:, :, :1].transpose(0, 1).flatten(1, 2)]).result().with_later(later)
    seen = whitening.apply(latents)
    for part in (seen[:, :, :1], seen[:, :, 1:]):
        assert part.var() == pytest.approx(1, abs=0.2)
    assert torch.equal(seen[0], whitening.apply(latents[0]))  # a batch or a clip
    torch.testing.assert_close(whitening.invert(seen), latents)
