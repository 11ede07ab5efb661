"""The feature cache of a clip: steps that would say nearly what an earlier one said leave after the first block.

First-block caching: what the first block adds to a clip is cheap to compute and tells how far the clip has moved since
the deep blocks last ran for it. While that is little, what they added then is added again. Each clip decides for
itself, so cached and uncached ones share a pack, and those that leave spare the deep blocks their tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sora_core.nn.attention import Segments


@dataclass(slots=True, eq=False)
class ClipCache:
    """What the last whole pass of one clip added: by its first block, and by all others.

    A step is left out when the first block's part has changed by less than ``threshold`` of its size.
    """

    threshold: float
    first: Float[Tensor, "n d"] | None = None
    deep: Float[Tensor, "n d"] | None = None
    num_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Which clips of a pack go through the deep blocks, their tokens, and what the first block added to each clip."""

    running: tuple[int, ...]
    rows: Int[Tensor, " k"]
    segments: Segments
    first: tuple[Tensor, ...]


def decide(first: Float[Tensor, "l d"], segments: Segments, caches: Sequence[ClipCache | None]) -> Split:
    """The clips whose first block says that they have moved; those without a cache always run.

    Reads back from the device once. Nothing is remembered before `finish`: a pass that fails leaves no trace.
    """
    parts = segments.split(first)
    changes = {
        index: (part - cache.first).abs().mean() / cache.first.abs().mean()
        for index, (part, cache) in enumerate(zip(parts, caches, strict=True))
        if cache is not None and cache.first is not None
    }
    known = dict(zip(changes, torch.stack(list(changes.values())).cpu().tolist(), strict=True)) if changes else {}
    running = tuple(
        index
        for index, cache in enumerate(caches)
        if cache is None or index not in known or not known[index] < cache.threshold
    )
    every = torch.arange(segments.total, device=first.device).split(list(segments.lengths))
    rows = torch.cat([every[index] for index in running]) if running else every[0][:0]
    lengths = tuple(segments.lengths[index] for index in running)
    return Split(running, rows, Segments.of(lengths, segments.offsets.device), parts)


def finish(
    x: Float[Tensor, "l d"],
    out: Float[Tensor, "k d"],
    split: Split,
    segments: Segments,
    caches: Sequence[ClipCache | None],
) -> Float[Tensor, "l d"]:
    """The whole pack after the deep blocks, from what came in, ``x``, and what came ``out`` for those that ran."""
    ran = dict(zip(split.running, split.segments.split(out), strict=True))
    whole: list[Tensor] = []
    for index, (part, cache) in enumerate(zip(segments.split(x), caches, strict=True)):
        if index in ran:
            whole.append(ran[index])
            if cache is not None:
                cache.first, cache.deep = split.first[index], ran[index] - part
        else:
            assert cache is not None
            assert cache.deep is not None
            cache.num_left_out += 1
            whole.append(part + cache.deep)
    return torch.cat(whole)
