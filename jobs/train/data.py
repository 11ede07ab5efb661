"""The curated clips as training sees them: sizes at once, by columns; tensors when a step is near (`groups`)."""

import collections
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from re import Pattern
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sora_core import shards
from sora_core.checkpoint import DataSummary
from sora_core.errors import CorruptShard, FingerprintMismatch, InputError, MissingObject
from sora_core.shapes import LatentShape, Patch, PixelShape
from sora_core.shard_reader import ShardReader
from sora_core.shards import Manifest, Shard
from sora_core.training.order import Ints, Pool
from sora_core.training.plan import Plan, PlanRules
from sora_core.training.references import References

logger = logging.getLogger(__name__)

_READERS = 16


@dataclass(frozen=True, slots=True)
class Source:
    """A curated folder, and how often its clips are met against those of a source of weight 1."""

    uri: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies: which shard of all, which of its groups, which row of that."""

    shard: int
    group: int
    row: int


@dataclass(slots=True)
class Census:
    """What the training clips come to."""

    clips: int = 0
    seconds: float = 0.0
    text_tokens: int = 0
    licences: collections.Counter[str] = field(default_factory=collections.Counter)
    rates: collections.Counter[float] = field(default_factory=collections.Counter)
    shapes: collections.Counter[LatentShape] = field(default_factory=collections.Counter)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The rows of all shards of all sources, numbered in that order; ``train`` and ``val`` are numbers of rows.

    Eight bytes a clip: its number and which of ``shapes`` it has. Row ``group_first[g]`` is the first of group ``g``,
    and group ``shard_first[s]`` the first of shard ``s``.
    """

    sources: tuple[Source, ...]
    manifest: Manifest
    shards: tuple[tuple[int, Shard], ...]
    shapes: tuple[LatentShape, ...]
    shape_of: Ints
    train: Ints
    val: Ints
    group_first: Ints
    shard_first: Ints
    census: Census

    @classmethod
    def open(cls, sources: Sequence[Source], *, skip_corrupt: bool = False) -> "Dataset":
        """Read the manifests, and the small columns of every shard, one request each.

        MissingObject when curation hasn't finished there, FingerprintMismatch when sources were made by different
        encoders, CorruptShard for a shard that can't be read unless those are to be skipped.
        """
        manifests = [shards.read_manifest(source.uri) for source in sources]
        for source, manifest in zip(sources[1:], manifests[1:], strict=True):
            _check_alike(sources[0].uri, manifests[0], source.uri, manifest)
        listed = tuple((number, shard) for number, manifest in enumerate(manifests) for shard in manifest.shards)
        columns = _Columns()
        with ThreadPoolExecutor(_READERS, thread_name_prefix="index") as readers:
            tasks = [(sources[number].uri, shard, skip_corrupt) for number, shard in listed]
            for found in readers.map(_read_index, *zip(*tasks, strict=True)) if tasks else ():
                columns.add(*found)
        return columns.dataset(tuple(sources), manifests[0], listed)

    def tokens(self, patch: Patch) -> Ints:
        """Length of each training clip. InputError when the patch doesn't divide a latent."""
        of_shape = np.array([patch.grid(shape).num_tokens for shape in self.shapes], dtype=np.int32)
        return of_shape[self.shape_of[self.train]] if self.shapes else of_shape

    def stills(self) -> npt.NDArray[np.bool_]:
        """Which training clips are single frames."""
        of_shape = np.array([shape.frames == 1 for shape in self.shapes], dtype=np.bool_)
        return of_shape[self.shape_of[self.train]] if self.shapes else of_shape

    def pools(self) -> list[Pool]:
        """The training clips of each source by groups, for the plan; a source without any is left out."""
        before = np.searchsorted(self.train, self.group_first)
        pools = []
        for number, source in enumerate(self.sources):
            mine = [place for place, (of, _) in enumerate(self.shards) if of == number]
            if mine:
                first, last = self.shard_first[mine[0]], self.shard_first[mine[-1] + 1]
                starts = np.unique(before[first : last + 1])
                pools += [Pool(starts, source.weight)] if len(starts) > 1 else []
        return pools

    def plan(self, patch: Patch, rules: PlanRules, references: References | None = None) -> Plan:
        """Which clips meet in which step; its clip ``n`` is row ``train[n]``."""
        return Plan(self.tokens(patch), rules, self.pools(), self.stills(), references)

    def references(self, patch: Patch, share: float, seed: int, subject: Pattern[str] | None) -> References | None:
        """What draws a reference for a share of the clips; None for none.

        Reads one more column of every shard. InputError when no two clips have one subject.
        """
        if not share:
            return None
        numbers: dict[str | int, int] = {}
        named = enumerate(self._subjects(subject))
        of_row = np.array([numbers.setdefault(row if told is None else told, len(numbers)) for row, told in named])
        frames = np.array([patch.grid(shape).frames for shape in self.shapes])[self.shape_of[self.train]]
        found = References(of_row[self.train], self.tokens(patch), frames, share, seed, patch.time)
        if not found.num_clips:
            where = "file" if subject is None else f"caption by {subject.pattern!r}"
            raise InputError(f"given.reference = {share}: no two clips have one subject, told by {where}: leave it out")
        logger.info("%d of %d clips have another of their subject", found.num_clips, len(self.train))
        return found

    def _subjects(self, subject: Pattern[str] | None) -> Iterator[str | None]:
        """What tells the subject of each row: the file that it comes from, or what is found in its caption."""
        for number, groups in enumerate(np.diff(self.shard_first)):
            if groups:
                name = "uri" if subject is None else "caption"
                for text in shards.read_table(*self.shard(number), [name])[name].to_pylist():
                    match = None if subject is None else subject.search(text)
                    yield text if subject is None else match and match[1 if subject.groups else 0]

    def judges(self, count: int) -> list[int]:
        """Rows to validate on: so many, spread evenly over all sources, or all there are."""
        chosen = np.linspace(0, len(self.val) - 1, min(count, len(self.val))).round().astype(np.int64)
        return [int(row) for row in self.val[chosen]]

    def rereads(self, window_clips: int, cache_bytes: int) -> float:
        """How often a group may be read in each pass, at most: once when a window of clips fits in the cache."""
        size = sum(shard.size_bytes for _, shard in self.shards) / max(1, len(self.shape_of))
        held = min(1.0, cache_bytes / (size * min(window_clips, max(1, len(self.train)))))
        rows = len(self.shape_of) / max(1, len(self.group_first) - 1)
        return 1 + (1 - held) * (rows - 1)

    @property
    def num_left_out(self) -> int:
        """Rows of shards that can't be read."""
        return sum(shard.rows for _, shard in self.shards) - len(self.shape_of)

    def place(self, row: int) -> Place:
        """Where a row lies."""
        group = int(np.searchsorted(self.group_first, row, side="right")) - 1
        shard = int(np.searchsorted(self.shard_first, group, side="right")) - 1
        return Place(shard, group - int(self.shard_first[shard]), row - int(self.group_first[group]))

    def shard(self, number: int) -> tuple[str, Shard]:
        """A shard with the folder that its path is relative to."""
        source, shard = self.shards[number]
        return self.sources[source].uri, shard

    def summary(self) -> DataSummary:
        """What a checkpoint tells of the data it has seen."""
        where = ", ".join(source.uri for source in self.sources)
        licences = dict(sorted(self.census.licences.items()))
        return DataSummary(where, self.census.clips, self.census.seconds, licences)

    def mean_text_tokens(self) -> float:
        """Text states of a clip, on average."""
        return self.census.text_tokens / max(1, self.census.clips)

    def usual_fps(self) -> float:
        """The median rate of clips that move, 24 when none does."""
        rates = sorted(self.census.rates.items())
        middle, seen = sum(self.census.rates.values()) / 2, 0
        for rate, count in rates:
            seen += count
            if seen >= middle:
                return rate
        return 24.0

    def usual_shape(self) -> PixelShape:
        """The most frequent size of the training clips."""
        [(latent, _)] = self.census.shapes.most_common(1)
        return self.manifest.compression.pixels(latent)


def _check_alike(first: str, reference: Manifest, uri: str, manifest: Manifest) -> None:
    """Sources of one run must come from the same encoders."""
    try:
        manifest.check_encoders(vae=reference.vae.fingerprint, text_encoder=reference.text_encoder.fingerprint)
    except FingerprintMismatch as error:
        raise FingerprintMismatch(f"{uri} doesn't go with {first}: {error}") from error
    for what in ("compression", "channels", "text_dim"):
        ours, theirs = getattr(manifest, what), getattr(reference, what)
        if ours != theirs:
            raise InputError(f"{uri} has {what} {ours}, {first} has {theirs}: train on them apart")


def _read_index(uri: str, shard: Shard, skip_corrupt: bool) -> tuple[list[int], pa.Table]:
    """The rows of a shard's groups, and its small columns; no group when the shard is to be skipped."""
    try:
        reader = ShardReader.open(uri, shard)
        return reader.group_rows, reader.index()
    except (CorruptShard, MissingObject) as error:
        if not skip_corrupt:
            raise
        logger.warning("%d clips left out: %s", shard.rows, error)
        return [], pa.table({name: [] for name in shards.INDEX_COLUMNS})


def _matrix(column: pa.ChunkedArray, width: int) -> Ints:
    """A column of lists of one length, a row each."""
    values: Ints = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


def _counts(values: npt.NDArray[Any]) -> dict[Any, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


class _Columns:
    """Gathers the columns of a dataset shard by shard."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, ...], int] = {}
        self._shape_of: list[Ints] = []
        self._is_train: list[npt.NDArray[np.bool_]] = []
        self._group_rows: list[int] = []
        self._groups_of_shard: list[int] = []
        self._census = Census()

    def add(self, group_rows: list[int], index: pa.Table) -> None:
        self._group_rows += group_rows
        self._groups_of_shard.append(len(group_rows))
        if not index.num_rows:
            return
        distinct, which = np.unique(_matrix(index["latent_shape"], 4), axis=0, return_inverse=True)
        ids = [self._ids.setdefault(tuple(shape), len(self._ids)) for shape in distinct.tolist()]
        self._shape_of.append(np.array(ids, dtype=np.int32)[which.reshape(-1)])
        self._is_train.append(index["split"].to_numpy() == "train")
        self._count(index.filter(pa.array(self._is_train[-1])))

    def _count(self, trained: pa.Table) -> None:
        census = self._census
        census.clips += trained.num_rows
        census.seconds += float((trained["end_s"].to_numpy() - trained["start_s"].to_numpy()).sum())
        census.text_tokens += int(_matrix(trained["text_shape"], 2)[:, 0].sum())
        census.licences.update(_counts(trained["licence"].fill_null("unknown").to_numpy()))
        shapes = _matrix(trained["latent_shape"], 4)
        for shape, count in zip(*np.unique(shapes, axis=0, return_counts=True), strict=True):
            census.shapes[LatentShape(*shape.tolist())] += int(count)
        census.rates.update(_counts(trained["fps"].to_numpy()[shapes[:, 1] > 1]))

    def dataset(
        self, sources: tuple[Source, ...], manifest: Manifest, listed: tuple[tuple[int, Shard], ...]
    ) -> Dataset:
        is_train = np.concatenate([*self._is_train, np.zeros(0, np.bool_)])
        return Dataset(
            sources,
            manifest,
            listed,
            tuple(LatentShape(*shape) for shape in self._ids),
            np.concatenate([*self._shape_of, np.zeros(0, np.int32)]),
            np.flatnonzero(is_train).astype(np.int32),
            np.flatnonzero(~is_train).astype(np.int32),
            np.cumsum([0, *self._group_rows]),
            np.cumsum([0, *self._groups_of_shard]),
            self._census,
        )
