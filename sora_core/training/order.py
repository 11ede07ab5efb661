"""In which order clips are met: an endless sequence of windows, each a share of every pool's shuffled groups.

A group is what one read brings from storage. Groups are shuffled over a whole pool, clips within a window of many
groups, so a reader that keeps a window in memory reads each group once a pass, and memory doesn't grow with the data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sora_core.errors import InputError

Ints = npt.NDArray[np.integer]

# Keep these draws apart from each other and from those of a step, which share the seed.
_OF_GROUPS, _OF_A_WINDOW = 0x6709, 0x31D0


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Clips ``starts[0]`` up to ``starts[-1]``, those from one start to the next in one group.

    A clip of weight 2 is met twice as often as one of weight 1.
    """

    starts: Ints
    weight: float = 1.0

    @property
    def num_groups(self) -> int:
        return len(self.starts) - 1

    @property
    def num_clips(self) -> int:
        return int(self.starts[-1] - self.starts[0])


class Order:
    """The clips of each window, in their order; any window is made from its number alone.

    ``windows_per_pass`` windows meet as many clips as there are. With ``still_share``, the share of stills among the
    clips met, they meet fewer: a random part of the kind that is too frequent is left out, another one every pass.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        seed: int,
        window_clips: int,
        stills: npt.NDArray[np.bool_] | None = None,
        still_share: float | None = None,
    ) -> None:
        self._pools = pools
        self._seed = seed
        self._stills = stills
        self._shuffles: dict[int, tuple[int, Ints]] = {}
        self._kept: tuple[float, float] | None = None
        num_clips = sum(pool.num_clips for pool in pools)
        num_kept = float(num_clips)
        if still_share is not None:
            assert stills is not None, "which clips are stills must be known"
            now = _share_of(stills, pools)
            self._kept = kept_parts(now, still_share)
            num_kept *= now * self._kept[0] + (1 - now) * self._kept[1]
        self.windows_per_pass = max(1, math.ceil(num_kept / window_clips))
        weights = [Fraction(pool.weight).limit_denominator(10**6) for pool in pools]
        mass = sum(weight * pool.num_clips for weight, pool in zip(weights, pools, strict=True))
        turns = Fraction(num_clips) / mass / self.windows_per_pass
        self._turns = [pool.num_groups * weight * turns for weight, pool in zip(weights, pools, strict=True)]

    def clips(self, window: int) -> Ints:
        """The clips of a window in their order; a clip is met again only where its pool comes round again."""
        rng = np.random.default_rng((_OF_A_WINDOW, self._seed, window))
        parts = []
        for number, (pool, turns) in enumerate(zip(self._pools, self._turns, strict=True)):
            groups = self._groups(number, np.arange(int(turns * window), int(turns * (window + 1))))
            parts.append(_members(pool, groups))
        clips = np.concatenate(parts)
        if self._kept is not None and self._stills is not None:
            clips = clips[rng.random(len(clips)) < np.where(self._stills[clips], *self._kept)]
        return rng.permutation(clips)

    def _groups(self, number: int, turns: Ints) -> Ints:
        """The groups of a pool whose turn it is, counted from the first turn of the first pass."""
        num_groups = self._pools[number].num_groups
        passes = turns // num_groups
        parts = [self._shuffled(number, int(at))[turns[passes == at] % num_groups] for at in np.unique(passes)]
        return np.concatenate(parts) if parts else turns

    def _shuffled(self, number: int, at: int) -> Ints:
        """The groups of a pool in the order of one pass: four bytes each, so only the last pass is kept."""
        known, order = self._shuffles.get(number, (-1, None))
        if order is None or known != at:
            groups = np.arange(self._pools[number].num_groups, dtype=np.int32)
            order = np.random.default_rng((_OF_GROUPS, self._seed, number, at)).permutation(groups)
            self._shuffles[number] = at, order
        return order


def kept_parts(share: float, wanted: float) -> tuple[float, float]:
    """The parts of the stills and of the others to keep, so that a share of stills becomes the wanted one.

    InputError when leaving out can't do it.
    """
    if (wanted > 0 and share == 0) or (wanted < 1 and share == 1):
        missing = "stills" if share == 0 else "clips that move"
        raise InputError(f"image_share = {wanted}, but the data has no {missing}: add some, or leave image_share out")
    still = wanted / share if share else 0.0
    moving = (1 - wanted) / (1 - share) if share < 1 else 0.0
    most = max(still, moving)
    return still / most, moving / most


def _share_of(stills: npt.NDArray[np.bool_], pools: Sequence[Pool]) -> float:
    """The share of stills among the clips met, if none is left out."""
    counts = [int(stills[pool.starts[0] : pool.starts[-1]].sum()) for pool in pools]
    mass = sum(pool.weight * pool.num_clips for pool in pools)
    return sum(pool.weight * count for pool, count in zip(pools, counts, strict=True)) / mass


def _members(pool: Pool, groups: Ints) -> Ints:
    """All clips of these groups, group by group."""
    first = pool.starts[groups].astype(np.int64)
    count = pool.starts[groups + 1] - first
    before = np.cumsum(count) - count
    return np.repeat(first - before, count) + np.arange(int(count.sum()))
