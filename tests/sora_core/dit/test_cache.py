"""The laws of the feature cache: off is equal, on is each clip's own affair, and what leaves costs nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from sora_core.dit.cache import ClipCache
from sora_core.dit.model import Context, DiT
from sora_core.dit.packing import Clip, pack, unpack

from .tiny import gentle_dit, noise


@pytest.fixture(scope="module")
def dit() -> DiT:
    return gentle_dit()


def clip(seed: int, sigma: float, frames: int = 2) -> Clip:
    return Clip(noise(seed, 4, frames, 4, 6), sigma, noise(seed + 100, 3 + seed, 12))


def forward(dit: DiT, clips: Sequence[Clip], caches: Sequence[ClipCache | None] | None) -> list[Tensor]:
    context = Context.join([dit.context(one.text) for one in clips])
    packed = pack(clips)
    return unpack(packed, dit(packed, context, caches))


@pytest.fixture
def deep_tokens(dit: DiT) -> Any:
    """Tokens that each pass sent through the last block."""
    seen: list[int] = []
    hook = dit.blocks[-1].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    yield seen
    hook.remove()


def test_a_cache_that_never_hits_changes_nothing(dit: DiT) -> None:
    caches = [ClipCache(1e-9), None]
    for sigma in (1.0, 0.7, 0.4):
        clips = [clip(0, sigma), clip(1, sigma, frames=3)]
        for plain, cached in zip(forward(dit, clips, None), forward(dit, clips, caches), strict=True):
            assert torch.equal(plain, cached)
    assert caches[0] is not None
    assert caches[0].num_left_out == 0


def test_a_clip_that_stands_still_leaves_after_the_first_block(dit: DiT, deep_tokens: list[int]) -> None:
    cache = ClipCache(0.01)
    still, moving = clip(0, 0.5), clip(1, 0.5, frames=3)
    first = forward(dit, [still, moving], [cache, None])
    second = forward(dit, [still, moving], [cache, None])
    assert deep_tokens == [12 + 18, 18]
    assert cache.num_left_out == 1
    for before, after in zip(first, second, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_a_pack_in_which_all_stand_still_spares_all_deep_blocks(dit: DiT, deep_tokens: list[int]) -> None:
    caches = [ClipCache(0.01), ClipCache(0.01)]
    clips = [clip(0, 0.5), clip(1, 0.5)]
    before, after = forward(dit, clips, caches), forward(dit, clips, caches)
    assert deep_tokens == [24]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)


def test_a_clip_does_not_notice_whether_its_neighbours_are_cached(dit: DiT) -> None:
    """Its velocities over a few steps in a pack where the neighbour comes and goes equal those alone, to rounding."""
    alone_cache, mixed_cache, neighbour = ClipCache(0.2), ClipCache(0.2), ClipCache(10.0)
    for index, sigma in enumerate((1.0, 0.98, 0.9, 0.5)):
        mine = clip(0, sigma)
        (alone,) = forward(dit, [mine], [alone_cache])
        _, mixed = forward(dit, [clip(1 + index, sigma, frames=1), mine], [neighbour, mixed_cache])
        torch.testing.assert_close(mixed, alone, rtol=1e-4, atol=1e-5)
    assert alone_cache.num_left_out == mixed_cache.num_left_out > 0
    assert neighbour.num_left_out == 3


def test_a_step_is_compared_with_the_last_whole_one_so_that_small_changes_add_up(dit: DiT) -> None:
    cache = ClipCache(0.1)
    for sigma in torch.linspace(1.0, 0.2, 60).tolist():
        forward(dit, [clip(0, sigma)], [cache])
    assert 0 < cache.num_left_out < 59


def test_a_pass_that_fails_leaves_no_trace(dit: DiT) -> None:
    cache, untouched = ClipCache(0.01), ClipCache(0.01)
    forward(dit, [clip(0, 1.0)], [cache])
    forward(dit, [clip(0, 1.0)], [untouched])

    def fault(*_: object) -> None:
        raise RuntimeError("bad kernel")

    hook = dit.blocks[-1].register_forward_pre_hook(fault)
    with pytest.raises(RuntimeError, match="bad kernel"):
        forward(dit, [clip(0, 0.5)], [cache])
    hook.remove()
    (after,), (expected,) = forward(dit, [clip(0, 0.5)], [cache]), forward(dit, [clip(0, 0.5)], [untouched])
    assert torch.equal(after, expected)
