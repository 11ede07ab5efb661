"""The curated clips as training sees them: sizes at once, tensors when a step is near."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch

from sora_core import shards
from sora_core.checkpoint import DataSummary
from sora_core.shapes import Patch
from sora_core.shards import ROWS_PER_GROUP, IndexEntry, Manifest, Row
from sora_core.training.order import Ints
from sora_core.training.step import Example


@dataclass(frozen=True)
class Dataset:
    """A curated folder's manifest and the sizes of its clips; clips are numbered within their split."""

    uri: str
    manifest: Manifest
    train: tuple[IndexEntry, ...]
    val: tuple[IndexEntry, ...]

    @classmethod
    def open(cls, uri: str) -> "Dataset":
        """Read the manifest and the small columns. MissingObject when curation hasn't finished there."""
        manifest = shards.read_manifest(uri)
        entries = shards.read_index(manifest, uri)
        by_split = {split: tuple(entry for entry in entries if entry.split == split) for split in ("train", "val")}
        return cls(uri, manifest, by_split["train"], by_split["val"])

    def tokens(self, patch: Patch) -> Ints:
        """Length of each training clip. InputError when the patch doesn't divide a latent."""
        return np.array([patch.grid(entry.latent).num_tokens for entry in self.train], dtype=np.int64)

    @cached_property
    def _about(self) -> pa.Table:
        """Small columns of the training clips, in their order."""
        columns = ["split", "fps", "start_s", "end_s", "licence", "caption", "frames", "height", "width"]
        table = shards.read_columns(self.manifest, self.uri, columns)
        return table.filter(pa.compute.equal(table["split"], "train"))

    def summary(self) -> DataSummary:
        """What a checkpoint tells of the data it has seen."""
        about = self._about
        licences = collections.Counter(licence or "unknown" for licence in about["licence"].to_pylist())
        spans = zip(about["start_s"].to_pylist(), about["end_s"].to_pylist(), strict=True)
        seconds = sum(end - start for start, end in spans)
        return DataSummary(self.uri, len(self.train), seconds, dict(sorted(licences.items())))

    def usual_fps(self) -> float:
        """The median rate of clips that move, 24 when none does."""
        about = self._about
        rates = [
            fps for fps, frames in zip(about["fps"].to_pylist(), about["frames"].to_pylist(), strict=True) if frames > 1
        ]
        return float(median(rates)) if rates else 24.0

    def moving_captions(self) -> list[str]:
        """The caption of each training clip that moves, or of every still when none does."""
        pairs = list(zip(self._about["caption"].to_pylist(), self._about["frames"].to_pylist(), strict=True))
        moving = [caption for caption, frames in pairs if frames > 1]
        return moving or [caption for caption, _ in pairs]

    def usual_shape(self) -> tuple[int, int, int]:
        """The most frequent (frames, height, width) of the training clips."""
        sides = zip(*(self._about[name].to_pylist() for name in ("frames", "height", "width")), strict=True)
        return collections.Counter(sides).most_common(1)[0][0]


class RowGroups:
    """Reads clips' tensors by whole row groups, and keeps the groups used last, up to ``max_bytes``."""

    def __init__(self, dataset: Dataset, max_bytes: int) -> None:
        self._dataset = dataset
        self._max_bytes = max_bytes
        self._held: collections.OrderedDict[tuple[int, int], list[Row]] = collections.OrderedDict()
        self._bytes = 0

    def examples(self, entries: Sequence[IndexEntry]) -> list[Example]:
        """The clips of these entries."""
        return [_example(self._group(entry)[entry.row % ROWS_PER_GROUP]) for entry in entries]

    def _group(self, entry: IndexEntry) -> list[Row]:
        key = entry.shard, entry.row // ROWS_PER_GROUP
        if key not in self._held:
            self._held[key] = self._read(*key)
            self._bytes += _size(self._held[key])
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= _size(dropped)
        self._held.move_to_end(key)
        return self._held[key]

    def _read(self, shard_number: int, group: int) -> list[Row]:
        shard = self._dataset.manifest.shards[shard_number]
        first = group * ROWS_PER_GROUP
        return shards.read_rows(self._dataset.uri, shard, range(first, min(first + ROWS_PER_GROUP, shard.rows)))


def _size(rows: Sequence[Row]) -> int:
    return sum(row.latent_mean.nbytes + row.latent_std.nbytes + row.text.nbytes for row in rows)


def _example(row: Row) -> Example:
    return Example(
        row.clip_id,
        torch.tensor(row.latent_mean),
        torch.tensor(row.latent_std),
        torch.tensor(row.text),
    )
