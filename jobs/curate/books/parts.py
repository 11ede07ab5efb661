"""Committed parts as a run needs them: which objects they hold, what became of these, and their latents.

What is kept of a part is a few numbers and its objects' keys, so memory doesn't grow with the clips. A part that is
known already, by its ETag, isn't read again: a run reads the ledger once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.books.stored import Stored
from sora_core import storage
from sora_core.shards import Shard
from sora_core.storage import ObjectInfo

# Ledger files that are read at once: most of the time is waiting for the storage.
_AT_ONCE = 16
_OF_OBJECT = ("uri", "key", "examine_key", "etag", "size_bytes", "kind")
_COLUMNS = (*_OF_OBJECT, "clip_id", "status", "reason")

Verdicts = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One committed ledger file: its objects, the verdicts of these and of their clips, and its latents.

    ``transient`` are the keys of objects with a failure that another run may not meet, ``unmeasured`` the examine keys
    of those that it kept from being measured. ``modified`` and ``etag`` are the file's.
    """

    name: str
    etag: str
    modified: float
    objects: pa.Table
    transient: frozenset[str]
    unmeasured: frozenset[str]
    of_objects: Verdicts
    of_clips: Verdicts
    clips_are_distinct: bool
    stored: tuple[Stored, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Of its objects."""
        return frozenset(self.objects.column("key").to_pylist())

    @property
    def uris(self) -> list[str]:
        """Of its objects."""
        uris: list[str] = self.objects.column("uri").to_pylist()
        return uris

    @property
    def measured(self) -> frozenset[str]:
        """Examine keys of objects whose measurement needs no repetition."""
        return frozenset(self.objects.column("examine_key").to_pylist()) - self.unmeasured

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Its files of latents."""
        return tuple(file.shard for file in self.stored)

    @property
    def shard_names(self) -> frozenset[str]:
        """File names of its latents."""
        return frozenset(storage.name(shard.path) for shard in self.shards)


def read_parts(output: str, known: Iterable[Part] = ()) -> list[Part]:
    """Every committed part; those that are ``known`` and unchanged aren't read again."""
    before = {part.name: part for part in known}

    def read(item: ObjectInfo) -> Part:
        part = before.get(ledger.name_of(item.uri))
        return part if part and part.etag == item.etag else _read(item)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ledger") as threads:
        return list(threads.map(read, ledger.listed(output, "ledger")))


def _read(item: ObjectInfo) -> Part:
    table = ledger.read_table(item.uri, _COLUMNS)
    of_object = pc.is_null(table.column("clip_id"))
    objects, clips = table.filter(of_object), table.filter(pc.invert(of_object))
    failed = pc.and_(
        pc.equal(table.column("status"), "failed"), pc.is_in(table.column("reason"), pa.array(sorted(ledger.TRANSIENT)))
    )
    transient = table.filter(failed)
    # A clip without words was measured all the same.
    unseen = pc.and_(
        pc.is_null(transient.column("clip_id")), pc.not_equal(transient.column("reason"), "caption_failed")
    )
    return Part(
        name=ledger.name_of(item.uri),
        etag=item.etag,
        modified=item.modified,
        objects=objects.select(_OF_OBJECT).replace_schema_metadata().combine_chunks(),
        transient=frozenset(transient.column("key").to_pylist()),
        unmeasured=frozenset(transient.filter(unseen).column("examine_key").to_pylist()),
        of_objects=_verdicts(objects),
        of_clips=_verdicts(clips),
        clips_are_distinct=pc.count_distinct(clips.column("clip_id")).as_py() == clips.num_rows,
        stored=ledger.stored_in(table.schema),
    )


def _verdicts(table: pa.Table) -> Verdicts:
    counted = table.select(["status", "reason"]).group_by(["status", "reason"]).aggregate([([], "count_all")])
    return Counter({(row["status"], row["reason"] or ""): row["count_all"] for row in counted.to_pylist()})


def verdicts_of(parts: Sequence[Part]) -> tuple[Verdicts, Verdicts]:
    """Of all objects and of all clips, by status and reason."""
    objects, clips = Verdicts(), Verdicts()
    for part in parts:
        objects.update(part.of_objects)
        clips.update(part.of_clips)
    return objects, clips
