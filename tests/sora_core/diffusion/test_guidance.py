import pytest
import torch

from sora_core.diffusion.guidance import Guidance, guide
from sora_core.errors import InputError

COND, UNCOND = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_scale_one_is_the_prompt_alone_and_zero_is_without() -> None:
    torch.testing.assert_close(guide(COND, UNCOND, 1.0), COND)
    torch.testing.assert_close(guide(COND, UNCOND, 0.0), UNCOND)
    assert not Guidance(1.0).active(0.5)


def test_guidance_moves_along_the_difference() -> None:
    torch.testing.assert_close(guide(COND, UNCOND, 3.0) - COND, 2 * (COND - UNCOND))


def test_rescaled_guidance_keeps_the_spread_of_the_prompted_branch() -> None:
    assert guide(COND, UNCOND, 7.0).std() > 2 * COND.std()
    torch.testing.assert_close(guide(COND, UNCOND, 7.0, rescale=1.0).std(), COND.std())
    half = guide(COND, UNCOND, 7.0, rescale=0.5)
    torch.testing.assert_close(half, (guide(COND, UNCOND, 7.0) + guide(COND, UNCOND, 7.0, 1.0)) / 2)


def test_guidance_acts_in_its_interval_only() -> None:
    guidance = Guidance(4.0, low=0.2, high=0.8)
    assert [guidance.active(sigma) for sigma in (0.1, 0.2, 0.5, 0.8, 0.9)] == [False, True, True, True, False]


def test_impossible_guidance_is_refused() -> None:
    with pytest.raises(InputError, match="guidance scale nan"):
        Guidance(float("nan"))
    with pytest.raises(InputError, match="rescale 2"):
        Guidance(4.0, rescale=2.0)
    with pytest.raises(InputError, match=r"interval 0\.9 to 0\.1"):
        Guidance(4.0, low=0.9, high=0.1)
