"""Clips read ahead of need by a thread, so that a step seldom waits for storage."""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.train.data import RowGroups
from sora_core.shards import IndexEntry
from sora_core.training.plan import PlannedStep
from sora_core.training.step import Example


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One worker's part of a step: for each of its packs, clips with their slots in the whole step."""

    planned: PlannedStep
    packs: tuple[tuple[tuple[int, Example], ...], ...]
    wait_s: float


class Prefetch:
    """Iterates over a worker's batches; ``ahead`` of them are ready or being read."""

    def __init__(
        self,
        steps: Iterator[PlannedStep],
        entries: tuple[IndexEntry, ...],
        rows: RowGroups,
        rank: int,
        size: int,
        ahead: int,
    ) -> None:
        self._steps, self._entries, self._rows = steps, entries, rows
        self._rank, self._size = rank, size
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=ahead)
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
        try:
            for planned in self._steps:
                if self._stopping.is_set():
                    return
                self._ready.put(self._read(planned))
            self._ready.put(None)
        except Exception as error:  # noqa: BLE001 - handed to the thread that trains
            self._ready.put(error)

    def _read(self, planned: PlannedStep) -> Batch:
        packs = []
        for number in planned.share(self._size)[self._rank]:
            clips = [self._entries[clip] for clip in planned.packs[number]]
            first = planned.first_slots[number]
            packs.append(tuple(enumerate(self._rows.examples(clips), start=first)))
        return Batch(planned, tuple(packs), 0.0)
