"""Clips' tensors from storage: whole groups of rows, several at once, ahead of need, within a bound of memory."""

import collections
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from jobs.train.data import Dataset
from sora_core import telemetry
from sora_core.errors import CorruptShard, MissingObject
from sora_core.shard_reader import ShardReader
from sora_core.shards import Row
from sora_core.training.step import Example

logger = logging.getLogger(__name__)

# Footers kept: a few hundred KiB each.
_OPEN_SHARDS = 256

Group = list[Row] | None
"""The rows of a group; None when what is stored makes no sense, or is gone."""


class RowGroups:
    """Reads groups by ``readers`` threads and keeps those used last, up to ``max_bytes``.

    A group that is still being read is held beside them, so what comes on top is what the callers have asked for and
    not yet taken. ``faults`` says what couldn't be read; unless that is to be skipped, somebody must stop the run.
    """

    def __init__(self, dataset: Dataset, max_bytes: int, *, readers: int = 8, skip_corrupt: bool = False) -> None:
        self._dataset = dataset
        self._max_bytes = max_bytes
        self._skip_corrupt = skip_corrupt
        self._lock = threading.Lock()
        self._held: collections.OrderedDict[tuple[int, int], Future[Group]] = collections.OrderedDict()
        self._sizes: dict[tuple[int, int], int] = {}
        self._open: collections.OrderedDict[int, ShardReader] = collections.OrderedDict()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="rows")
        self.faults: list[str] = []
        self.num_read = 0
        """Groups read so far."""

    @property
    def num_bytes(self) -> int:
        """What the groups kept come to."""
        return sum(self._sizes.values())

    def ask(self, row: int) -> "Asked":
        """Begin to read the group of a row, unless it is there."""
        place = self._dataset.place(row)
        key = place.shard, place.group
        with self._lock:
            future = self._held.get(key)
            if future is None:
                future = self._held[key] = self._readers.submit(self._read, *key)
            self._held.move_to_end(key)
        return Asked(future, place.row)

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """These rows, read together; those that can't be read are missing, or CorruptShard unless they may be."""
        found = [asked.row() for asked in [self.ask(number) for number in numbers]]
        if None in found and not self._skip_corrupt:
            raise CorruptShard("; ".join(self.faults))
        return [row for row in found if row is not None]

    def examples(self, numbers: Sequence[int]) -> list[Example]:
        """The clips of these rows."""
        return [example(row) for row in self.rows(numbers)]

    def close(self) -> None:
        """End the threads; what is only waiting to be read is dropped."""
        self._readers.shutdown(cancel_futures=True)

    def _read(self, shard: int, group: int) -> Group:
        try:
            rows = self._reader(shard).rows(group)
        except (CorruptShard, MissingObject) as error:
            self.faults.append(str(error))
            if self._skip_corrupt:
                logger.warning("clips are left out: %s", error)
            rows = None
        self._keep((shard, group), sum(map(_size, rows or [])))
        return rows

    def _keep(self, key: tuple[int, int], size: int) -> None:
        """Count a group that has been read, and forget those used longest ago."""
        with self._lock:
            self.num_read += 1
            self._sizes[key] = size
            while self.num_bytes > self._max_bytes and len(self._sizes) > 1:
                oldest = next(known for known in self._held if known in self._sizes)
                del self._held[oldest], self._sizes[oldest]

    def _reader(self, number: int) -> ShardReader:
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
        reader = ShardReader.open(*self._dataset.shard(number))
        with self._lock:
            self._open[number] = reader
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        return reader


class Asked:
    """A row that has been asked for."""

    __slots__ = ("_future", "_row")

    def __init__(self, future: Future[Group], row: int) -> None:
        self._future, self._row = future, row

    def row(self) -> Row | None:
        """Wait for it; None when it can't be read, and then it counts as skipped."""
        rows = self._future.result()
        if rows is None:
            telemetry.TRAIN_SKIPPED_CLIPS.inc()
            return None
        return rows[self._row]


def example(row: Row) -> Example:
    """A row as training takes it, with tensors of its own."""
    return Example(row.clip_id, torch.tensor(row.latent_mean), torch.tensor(row.latent_std), torch.tensor(row.text))


def _size(row: Row) -> int:
    return row.latent_mean.nbytes + row.latent_std.nbytes + row.text.nbytes
