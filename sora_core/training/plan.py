"""Which clips meet in which step, from their lengths and a seed alone.

An epoch is a seeded order of all clips, packed best-fit into packs of one token budget. Packs of like work (attention
``n^2`` and the rest ``c n``) form a step, so workers that share it finish together. Nothing here knows how many
workers there are, so progress is a step number: any of them, after any restart, sees the same packs and draws.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from sora_core.errors import InputError

Ints = npt.NDArray[np.int64]

_FULL = 0.995
"""A pack this full is closed; the clips of others meet the next buffer of clips."""

_BALANCE_STEPS = 64
"""Packs are sorted by work within so many steps: max over mean work of a step falls under 1.01."""


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What shapes a plan. ``linear_work`` is ``c`` in the work ``n^2 + c n`` of a clip of ``n`` tokens."""

    seed: int
    pack_tokens: int
    packs_per_step: int
    linear_work: float
    buffer_clips: int = 4096


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: ``step`` steps with ``clips`` clips are done, ``epoch`` began after ``epoch_start`` steps."""

    step: int = 0
    epoch: int = 0
    epoch_start: int = 0
    clips: int = 0


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step, numbered from 1. ``packs`` hold clip numbers; a clip's slot counts the clips of the step before it."""

    step: int
    epoch: int
    packs: tuple[Ints, ...]
    work: tuple[float, ...]
    num_tokens: int
    after: Position

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


class Plan:
    """The plan over clips of the given lengths in tokens. InputError when there are none or one outgrows a pack."""

    def __init__(self, tokens: Ints, rules: PlanRules) -> None:
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

    def steps(self, start: Position | None = None) -> Iterator[PlannedStep]:
        """All steps from a position on, without end."""
        at = start or Position()
        while True:
            packs, order = self.epoch(at.epoch)
            per_step = self._rules.packs_per_step
            num_steps = len(order) // per_step
            for local in range(at.step - at.epoch_start, num_steps):
                chosen = tuple(packs[int(number)] for number in order[local * per_step : (local + 1) * per_step])
                at = replace(at, step=at.step + 1, clips=at.clips + sum(len(pack) for pack in chosen))
                yield self._planned(chosen, at)
            at = replace(at, epoch=at.epoch + 1, epoch_start=at.step)

    def _planned(self, packs: tuple[Ints, ...], after: Position) -> PlannedStep:
        work = tuple(self._work(pack) for pack in packs)
        num_tokens = int(sum(self._tokens[pack].sum() for pack in packs))
        return PlannedStep(after.step, after.epoch, packs, work, num_tokens, after)

    def epoch(self, epoch: int) -> tuple[list[Ints], Ints]:
        """The packs of an epoch, and their numbers in order of use: a whole number of steps.

        Every clip is in it; a few are in it twice, to fill the last packs.
        """
        rng = np.random.default_rng((self._rules.seed, epoch))
        packs = self._pack_all(rng.permutation(len(self._tokens)), rng)
        return packs, self._balance(packs, rng)

    def _work(self, pack: Ints) -> float:
        lengths = self._tokens[pack].astype(np.float64)
        return float((lengths * (lengths + self._rules.linear_work)).sum())

    def _pack_all(self, order: Ints, rng: np.random.Generator) -> list[Ints]:
        budget, size = self._rules.pack_tokens, self._rules.buffer_clips
        packs: list[Ints] = []
        waiting = order[:0]
        for start in range(0, len(order), size):
            buffer = np.concatenate([waiting, order[start : start + size]])
            made = best_fit(self._tokens, buffer, budget)
            if start + size >= len(order):
                packs += [self._fill(pack, rng) for pack in made]
                break
            made.sort(key=lambda pack: -int(self._tokens[pack].sum()))
            closed = sum(int(self._tokens[pack].sum()) >= _FULL * budget for pack in made)
            if closed < len(made) / 2:  # nothing fits well: waiting longer would only hoard clips
                closed = (len(made) + 1) // 2
            packs += made[:closed]
            waiting = np.concatenate([order[:0], *made[closed:]])
        missing = -len(packs) % self._rules.packs_per_step
        return packs + [self._fill(order[:0], rng) for _ in range(missing)]

    def _fill(self, pack: Ints, rng: np.random.Generator) -> Ints:
        """A pack with clips added at random, whatever their length, until one doesn't fit."""
        room = self._rules.pack_tokens - int(self._tokens[pack].sum())
        added: list[int] = []
        while room >= (length := int(self._tokens[clip := int(rng.integers(len(self._tokens)))])):
            added.append(clip)
            room -= length
        return np.concatenate([pack, np.array(added, dtype=np.int64)])

    def _balance(self, packs: list[Ints], rng: np.random.Generator) -> Ints:
        """Pack numbers such that the packs of each step have like work, the steps in random order."""
        per_step = self._rules.packs_per_step
        order = rng.permutation(len(packs))
        if per_step > 1:
            work = np.array([self._work(pack) for pack in packs])
            window = _BALANCE_STEPS * per_step
            windows = [order[start : start + window] for start in range(0, len(order), window)]
            order = np.concatenate([part[np.argsort(work[part], kind="stable")] for part in windows])
        steps = order.reshape(-1, per_step)
        return steps[rng.permutation(len(steps))].reshape(-1)


def best_fit(tokens: Ints, clips: Ints, budget: int) -> list[Ints]:
    """Clips in packs of at most ``budget`` tokens: longest first, each into the fullest pack that has room."""
    by_length = sorted(clips.tolist(), key=lambda clip: -int(tokens[clip]))
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, pack number), ascending
    for length, group in groupby(by_length, key=lambda clip: int(tokens[clip])):
        alike = list(group)
        while alike:
            # The fullest pack stays the fullest while clips of one length go into it.
            at = bisect_left(room, (length, -1))
            if at < len(room):
                left, number = room.pop(at)
            else:
                left, number = budget, len(packs)
                packs.append([])
            count = min(len(alike), left // length)
            packs[number] += alike[-count:]
            del alike[-count:]
            insort(room, (left - count * length, number))
    return [np.array(pack, dtype=np.int64) for pack in packs]
