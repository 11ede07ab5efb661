"""The laws of given tokens that are kept: renewed at each step is equal, recalled spares their tokens and no others."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from sora_core.dit.cache import ClipCache
from sora_core.dit.given import GivenStates
from sora_core.dit.model import Context, DiT
from sora_core.dit.packing import Clip, pack, unpack

from .tiny import gentle_dit, noise

GIVEN, REFERENCE, OWN = 6, 6, 12  # tokens


@pytest.fixture(scope="module")
def dit() -> DiT:
    return gentle_dit()


def edited(seed: int, sigma: float) -> Clip:
    """Two latent frames, of which the first is given, and a reference of one; what is free changes with sigma."""
    given, free = noise(seed, 4, 1, 4, 6), noise(seed + 50, 4, 1, 4, 6) * sigma
    levels = torch.tensor([0.0] * GIVEN + [sigma] * (OWN - GIVEN))
    text = noise(seed + 100, 3 + seed, 12)
    return Clip(torch.cat((given, free), dim=1), levels, text, references=(noise(seed + 70, 4, 1, 4, 6),))


def plain(seed: int, sigma: float) -> Clip:
    return Clip(noise(seed, 4, 3, 4, 6), sigma, noise(seed + 100, 5, 12))


def forward(
    dit: DiT,
    clips: Sequence[Clip],
    given: Sequence[GivenStates | None] | None,
    caches: Sequence[ClipCache | None] | None = None,
) -> list[Tensor]:
    context = Context.join([dit.context(one.text) for one in clips])
    packed = pack(clips)
    return [latent[:, 1:] for latent in unpack(packed, dit(packed, context, caches, given))]


@pytest.fixture
def tokens(dit: DiT) -> Any:
    """Tokens that each pass sent through the last block."""
    seen: list[int] = []
    hook = dit.blocks[-1].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    yield seen
    hook.remove()


def test_renewed_at_every_step_they_change_nothing(dit: DiT, tokens: list[int]) -> None:
    states = GivenStates(1)
    for sigma in (1.0, 0.5):
        clips = [edited(0, sigma), plain(1, sigma)]
        for one, other in zip(forward(dit, clips, None), forward(dit, clips, [states, None]), strict=True):
            torch.testing.assert_close(one, other)
    assert len(set(tokens)) == 1


def test_recalled_they_leave_the_pack_until_they_are_due(dit: DiT, tokens: list[int]) -> None:
    states = GivenStates(3)
    for _ in range(4):
        forward(dit, [edited(0, 0.5), plain(1, 0.5)], [states, None])
    whole = OWN + REFERENCE + 18
    assert tokens == [whole, whole - GIVEN - REFERENCE, whole - GIVEN - REFERENCE, whole]


def test_recalled_where_nothing_changed_they_say_the_same(dit: DiT) -> None:
    states = GivenStates(2)
    first, second = (forward(dit, [edited(0, 0.5), plain(1, 0.5)], [states, None]) for _ in range(2))
    for before, after in zip(first, second, strict=True):
        torch.testing.assert_close(after, before)


def test_each_clip_recalls_its_own_beside_cached_ones_and_others(dit: DiT) -> None:
    """A pack of two clips at different passes and one that a feature cache holds back equals each of them alone."""
    together = [GivenStates(2), GivenStates(3), None], [None, None, ClipCache(0.01)]
    alone = [([GivenStates(2)], [None]), ([GivenStates(3)], [None]), ([None], [ClipCache(0.01)])]
    for sigma in (0.9, 0.6, 0.3):
        clips = [edited(0, sigma), edited(2, sigma), plain(4, 0.5)]
        packed = forward(dit, clips, *together)
        for clip, found, (given, caches) in zip(clips, packed, alone, strict=True):
            torch.testing.assert_close(found, forward(dit, [clip], given, caches)[0], rtol=1e-4, atol=1e-5)


def test_a_pass_that_fails_leaves_no_trace(dit: DiT, monkeypatch: pytest.MonkeyPatch) -> None:
    states = GivenStates(2)
    with monkeypatch.context() as broken:
        broken.setattr(dit.blocks[-1], "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forward(dit, [edited(0, 0.5)], [states])
    assert states.are_due
    assert not states.layers
