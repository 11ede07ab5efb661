"""Clips read ahead of need, so that a step seldom waits for storage."""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.train.groups import Asked, RowGroups, example
from sora_core.training.order import Ints
from sora_core.training.plan import PlannedStep
from sora_core.training.references import NONE
from sora_core.training.step import Example


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One worker's part of a step: for each of its packs, clips with their slots in the whole step.

    A clip that can't be read is missing: its slot stays empty.
    """

    planned: PlannedStep
    packs: tuple[tuple[tuple[int, Example], ...], ...]
    wait_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A clip that has been asked for, and the first ``frames`` latent frames of another as its reference."""

    asked: Asked
    other: Asked | None
    frames: int

    def arrive(self) -> Example | None:
        """The clip, without its reference when only that can't be read."""
        row, other = self.asked.row(), self.other and self.other.row()
        if row is None:
            return None
        return example(row).referring_to(example(other), self.frames) if other else example(row)


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """A batch whose rows have been asked for."""

    planned: PlannedStep
    packs: tuple[tuple[tuple[int, _Clip], ...], ...]

    def arrive(self) -> Batch:
        packs = [[(slot, clip.arrive()) for slot, clip in pack] for pack in self.packs]
        return Batch(self.planned, tuple(tuple((slot, clip) for slot, clip in pack if clip) for pack in packs), 0.0)


class Prefetch:
    """Iterates over a worker's batches; the rows of ``ahead`` steps are being read, two batches are ready.

    ``rows`` are the row numbers of the plan's clips.
    """

    def __init__(
        self, steps: Iterator[PlannedStep], rows: Ints, groups: RowGroups, rank: int, size: int, ahead: int
    ) -> None:
        self._steps, self._rows, self._groups = steps, rows, groups
        self._rank, self._size, self._ahead = rank, size, ahead
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_ahead, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            start = time.perf_counter()
            item = self._ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield Batch(item.planned, item.packs, time.perf_counter() - start)

    def close(self) -> None:
        """End the thread; what it had read is dropped."""
        self._stopping.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue

    def _read_ahead(self) -> None:
        coming: deque[_Coming] = deque()
        try:
            for planned in self._steps:
                if self._stopping.is_set():
                    return
                coming.append(self._ask(planned))
                if len(coming) > self._ahead:
                    self._ready.put(coming.popleft().arrive())
            while coming and not self._stopping.is_set():
                self._ready.put(coming.popleft().arrive())
            self._ready.put(None)
        except Exception as error:  # noqa: BLE001 - handed to the thread that trains
            self._ready.put(error)

    def _ask(self, planned: PlannedStep) -> _Coming:
        packs = []
        for number in planned.share(self._size)[self._rank]:
            clips = zip(
                planned.packs[number].tolist(), *(part.tolist() for part in planned.references[number]), strict=True
            )
            packs.append(tuple(enumerate((self._clip(*clip) for clip in clips), start=planned.first_slots[number])))
        return _Coming(planned, tuple(packs))

    def _clip(self, clip: int, reference: int, frames: int) -> _Clip:
        ask = self._groups.ask
        other = None if reference == NONE else ask(int(self._rows[reference]))
        return _Clip(ask(int(self._rows[clip])), other, frames)
