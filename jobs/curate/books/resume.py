"""What is done already: committed parts that still hold, and in the end the removal of what doesn't."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.books.ledger import Part
from jobs.curate.books.stored import Stored, store
from sora_core import shards, storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an output stands before a run.

    ``done`` are the keys of objects that need nothing. ``measured`` names, by examine key, the part that holds an
    object's spans and scores although its rows are out of date. ``stale`` parts go when the run has ended.
    """

    done: set[str] = field(default_factory=set)
    measured: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)


def stand(output: str, wanted: Iterable[str], *, retry: bool = True) -> Standing:
    """What of the ``wanted`` keys is done. Rows in a part of which others are out of date (footage removed or
    replaced, settings changed, with ``retry`` a failure worth another try) are committed as a part of their own."""
    keep = frozenset(wanted)
    standing = Standing()
    stale: list[Part] = []
    stored = {storage.name(uri) for uri in ledger.files(output, "latents")}
    for part in ledger.read_parts(output):
        if not retry:
            part = replace(part, transient=frozenset(), measured=part.measured | part.unmeasured)
        if not part.shard_names <= stored:
            logger.warning("%s has lost latents; its objects are done again", part.name)
            storage.delete(ledger.part_uri(output, part.name))
        elif part.keys <= keep - part.transient and standing.done.isdisjoint(part.keys):
            standing.done.update(part.keys)
        else:
            stale.append(part)
    for part in stale:
        still_good = (part.keys & keep) - part.transient - standing.done
        if still_good:
            _carry_over(part, still_good, output)
            standing.done.update(still_good)
        standing.measured.update(dict.fromkeys(part.measured - standing.measured.keys(), part.name))
        standing.stale.append(part.name)
    if stale:
        logger.info("%d parts of the ledger hold rows that are out of date", len(stale))
    remove_orphans(output)
    return standing


def retire(output: str, standing: Standing, committed: set[str]) -> None:
    """Remove the parts that were out of date, now that their objects are in others. A part that this run has
    ``committed`` under the same name stays."""
    for name in standing.stale:
        if name not in committed:
            storage.delete(ledger.part_uri(output, name))
    remove_orphans(output)


def remove_orphans(output: str) -> None:
    """Delete latents that no ledger file names."""
    named = {name for part in ledger.read_parts(output) for name in part.shard_names}
    for uri in ledger.files(output, "latents"):
        if storage.name(uri) not in named:
            storage.delete(uri)


def _carry_over(part: Part, keys: frozenset[str] | set[str], output: str) -> None:
    """Commit some objects of a part as a part of their own."""
    table = ledger.read_table(ledger.part_uri(output, part.name))
    table = table.filter(pc.is_in(table.column("key"), pa.array(sorted(keys))))
    clips = {clip_id for clip_id in table.column("clip_id").to_pylist() if clip_id}
    name = ledger.part_name(keys)
    ledger.write_table(table, name, _copy_shards(part.stored, clips, name, output), output)


def _copy_shards(old: Sequence[Stored], clips: set[str], name: str, output: str) -> list[Stored]:
    """The files of which every row is among ``clips``, and copies of such rows of the others."""
    new: list[Stored] = []
    for file in old:
        clip_ids = shards.read_table(output, file.shard, ["clip_id"]).column("clip_id").to_pylist()
        numbers = [number for number, clip_id in enumerate(clip_ids) if clip_id in clips]
        if len(numbers) == file.shard.rows:
            new.append(file)
        elif numbers:
            rows = shards.read_rows(output, file.shard, numbers)
            new.append(store(rows, output, ledger.shard_path(name, len(new)), time.monotonic()))
    return new
