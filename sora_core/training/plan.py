"""Which clips meet in which step, from their lengths and a seed alone.

The clips of a window are packed best-fit into packs of one token budget. Packs of like work (attention ``n^2`` and the
rest ``c n``) form a step, so workers that share it finish together. Nothing here knows how many workers there are, so
progress is a step number: any of them, after any restart, sees the same packs and draws. Beside the lengths, memory
holds one window and the shuffle of one pass.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from sora_core.errors import InputError
from sora_core.training.order import Ints, Order, Pool
from sora_core.training.references import NONE, Drawn, References

_BALANCE_STEPS = 64
"""Packs are sorted by work within so many steps: max over mean work of a step falls under 1.01."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps up to ``until`` in which other clips are met: this share of single frames."""

    until: int
    image_share: float


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What shapes a plan.

    ``linear_work`` is ``c`` in the work ``n^2 + c n`` of a clip of ``n`` tokens. Clips are shuffled and packed in
    windows of ``window_clips``, or of as many as balanced steps need. ``image_share`` is the share of single frames
    among the clips met after all ``stages``, which come in their order; None is what the data has.
    """

    seed: int
    pack_tokens: int
    packs_per_step: int
    linear_work: float
    window_clips: int = 16_384
    image_share: float | None = None
    stages: tuple[Stage, ...] = ()

    def stage(self, step: int) -> tuple[float, float | None]:
        """The last step of the stage that follows a step, and its share of single frames."""
        return next(
            ((float(one.until), one.image_share) for one in self.stages if step < one.until),
            (math.inf, self.image_share),
        )


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: after ``step`` steps with ``clips`` clips; ``window`` began after ``window_start`` steps."""

    step: int = 0
    window: int = 0
    window_start: int = 0
    clips: int = 0


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step, numbered from 1. ``packs`` hold clip numbers; a clip's slot counts the clips of the step before it.

    ``references`` say for every clip of a pack which clip is its reference, or `references.NONE`, and how many of that
    one's latent frames; ``lengths`` are the tokens of every clip with its reference.
    """

    step: int
    window: int
    packs: tuple[Ints, ...]
    references: tuple[tuple[Ints, Ints], ...]
    lengths: tuple[Ints, ...]
    work: tuple[float, ...]
    after: Position

    @property
    def num_tokens(self) -> int:
        return int(sum(lengths.sum() for lengths in self.lengths))

    @property
    def num_clips(self) -> int:
        return sum(len(pack) for pack in self.packs)

    @property
    def first_slots(self) -> tuple[int, ...]:
        """The slot of each pack's first clip."""
        return tuple(int(slot) for slot in np.cumsum([0, *(len(pack) for pack in self.packs)])[:-1])

    def share(self, num_workers: int) -> list[list[int]]:
        """Pack numbers for each worker: the heaviest first, each to the worker with least to do."""
        shares: list[list[int]] = [[] for _ in range(num_workers)]
        load = [0.0] * num_workers
        for pack in sorted(range(len(self.packs)), key=lambda pack: -self.work[pack]):
            worker = min(range(num_workers), key=lambda worker: (load[worker], worker))
            shares[worker].append(pack)
            load[worker] += self.work[pack]
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The clips of a window with their references, ``lengths`` in tokens with them, and packs of places among them."""

    clips: Ints
    references: Drawn
    lengths: Ints
    packs: tuple[Ints, ...]


class Plan:
    """The plan over clips of the given lengths in tokens, from one pool unless there are several.

    ``stills`` says which clips are single frames, where ``rules.image_share`` asks; ``references`` draws what some
    clips are given beside their own. InputError when there are no clips, one outgrows a pack, or a share can't be met.
    """

    def __init__(
        self,
        tokens: Ints,
        rules: PlanRules,
        pools: Sequence[Pool] | None = None,
        stills: npt.NDArray[np.bool_] | None = None,
        references: References | None = None,
    ) -> None:
        if not len(tokens):
            raise InputError("no clip to train on: the manifest lists none in its training split; curate more footage")
        longest = int(tokens.max())
        if longest > rules.pack_tokens:
            count = int((tokens > rules.pack_tokens).sum())
            raise InputError(
                f"{count} clips are longer than pack_tokens = {rules.pack_tokens}, the longest has {longest} tokens: "
                "raise pack_tokens, or curate to smaller or shorter clips"
            )
        self._tokens = tokens
        self._rules = rules
        self._references = references
        pools = pools or [Pool(np.arange(len(tokens) + 1))]
        shares = {rules.image_share, *(stage.image_share for stage in rules.stages)}
        self.orders = {share: Order(pools, rules.seed, self.window_clips, stills, share) for share in shares}

    @property
    def window_clips(self) -> int:
        """How many clips are shuffled and packed together, at most."""
        rules = self._rules
        sorted_together = _BALANCE_STEPS * rules.packs_per_step if rules.packs_per_step > 1 else 0
        clips_per_pack = rules.pack_tokens / float(self._tokens.mean())
        return max(rules.window_clips, math.ceil(sorted_together * clips_per_pack))

    def steps(self, start: Position | None = None) -> Iterator[PlannedStep]:
        """All steps from a position on, without end."""
        at = start or Position()
        per_step = self._rules.packs_per_step
        while True:
            until, _ = self._rules.stage(at.window_start)
            window = self.window(at.window, at.window_start)
            for first in range((at.step - at.window_start) * per_step, len(window.packs), per_step):
                if at.step == until:
                    break
                packs = window.packs[first : first + per_step]
                at = replace(at, step=at.step + 1, clips=at.clips + sum(map(len, packs)))
                yield self._step(window, packs, at)
            at = replace(at, window=at.window + 1, window_start=at.step)

    def window(self, window: int, after: int = 0) -> Window:
        """A window that begins ``after`` so many steps, its packs in order of use: a whole number of steps.

        Every clip of the window is in them; a few are in them twice, to fill the last packs.
        """
        rng = np.random.default_rng((self._rules.seed, window))
        _, share = self._rules.stage(after)
        clips = self.orders[share].clips(window)
        lengths = self._tokens[clips].astype(np.int64)
        drawn = self._draw(window, clips, lengths)
        lengths += drawn.tokens
        packs = self._pack_all(lengths, rng) if len(clips) else []
        return Window(clips, drawn, lengths, tuple(packs[number] for number in self._balance(packs, lengths, rng)))

    def _draw(self, window: int, clips: Ints, lengths: Ints) -> Drawn:
        """The references of a window's clips, each short enough for a pack of its own with its clip."""
        if self._references is None:
            none = np.zeros_like(lengths)
            return Drawn(none + NONE, none, none)
        return self._references.draw(window, clips, self._rules.pack_tokens - lengths)

    def _step(self, window: Window, packs: tuple[Ints, ...], after: Position) -> PlannedStep:
        drawn = window.references
        return PlannedStep(
            after.step,
            after.window,
            tuple(window.clips[pack] for pack in packs),
            tuple((drawn.clips[pack], drawn.frames[pack]) for pack in packs),
            tuple(window.lengths[pack] for pack in packs),
            tuple(self._work(list(packs), window.lengths).tolist()),
            after,
        )

    def _work(self, packs: list[Ints], lengths: Ints) -> npt.NDArray[np.float64]:
        """Work of each pack."""
        first = np.cumsum([0, *map(len, packs)])[:-1]
        each = lengths[np.concatenate([*packs, np.zeros(0, np.int64)])]
        work: npt.NDArray[np.float64] = np.add.reduceat(each * (each + self._rules.linear_work), first)
        return work

    def _pack_all(self, lengths: Ints, rng: np.random.Generator) -> list[Ints]:
        """The clips of a window in packs, the emptiest filled up, and packs of clips met again to end a step."""
        packs = best_fit(lengths, self._rules.pack_tokens)
        packs[-1] = self._fill(packs[-1], lengths, rng)
        missing = -len(packs) % self._rules.packs_per_step
        return packs + [self._fill(packs[0][:0], lengths, rng) for _ in range(missing)]

    def _fill(self, pack: Ints, lengths: Ints, rng: np.random.Generator) -> Ints:
        """A pack with others of these clips added at random, whatever their length, until one doesn't fit."""
        room = self._rules.pack_tokens - int(lengths[pack].sum())
        added: list[int] = []
        while room >= (length := int(lengths[place := int(rng.integers(len(lengths)))])):
            added.append(place)
            room -= length
        return np.concatenate([pack, np.array(added, dtype=np.int64)])

    def _balance(self, packs: list[Ints], lengths: Ints, rng: np.random.Generator) -> Ints:
        """Pack numbers such that the packs of each step have like work, the steps in random order."""
        per_step = self._rules.packs_per_step
        order = rng.permutation(len(packs))
        if per_step > 1:
            work = self._work(packs, lengths)
            span = _BALANCE_STEPS * per_step
            spans = [order[start : start + span] for start in range(0, len(order), span)]
            order = np.concatenate([part[np.argsort(work[part], kind="stable")] for part in spans])
        steps = order.reshape(-1, per_step)
        return steps[rng.permutation(len(steps))].reshape(-1)


def best_fit(lengths: Ints, budget: int) -> list[Ints]:
    """Places of these lengths in packs of at most ``budget``: longest first, each into the fullest pack with room.

    The packs come with the fullest first.
    """
    longest_first = np.argsort(-lengths, kind="stable")
    ordered = longest_first.tolist()
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, pack number), ascending
    end = 0
    for length, group in groupby(lengths[longest_first].tolist()):
        start, end = end, end + sum(1 for _ in group)
        while start < end:
            # The fullest pack stays the fullest while clips of one length go into it.
            at = bisect_left(room, (length, -1))
            if at < len(room):
                left, number = room.pop(at)
            else:
                left, number = budget, len(packs)
                packs.append([])
            count = min(end - start, left // length)
            packs[number] += ordered[start : start + count]
            start += count
            insort(room, (left - count * length, number))
    return [np.array(packs[number], dtype=np.int64) for _, number in room]
