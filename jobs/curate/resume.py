"""What is done already: committed parts that still hold, and the removal of what doesn't."""

import logging
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.curate import ledger
from jobs.curate.ledger import Part
from sora_core import shards, storage
from sora_core.shards import Shard

logger = logging.getLogger(__name__)


def tidy(output: str, wanted: Iterable[str]) -> set[str]:
    """Leave exactly the rows of ``wanted`` keys that are done, and return those keys.

    A part with rows that no longer hold (footage removed or replaced, settings changed, a failure worth another try)
    is written anew without them before it is removed, so an interruption anywhere loses nothing.
    """
    keep = frozenset(wanted)
    done: set[str] = set()
    stale: list[Part] = []
    stored = {storage.name(uri) for uri in ledger.files(output, "latents")}
    for part in ledger.read_parts(output):
        if not part.shard_names <= stored:
            logger.warning("%s has lost latents; its objects are done again", part.name)
            storage.delete(ledger.part_uri(output, part.name))
        elif part.keys <= keep - part.transient and done.isdisjoint(part.keys):
            done |= part.keys
        else:
            stale.append(part)
    for part in stale:
        still_good = (part.keys & keep) - part.transient - done
        if still_good:
            _carry_over(part, still_good, output)
            done |= still_good
        storage.delete(ledger.part_uri(output, part.name))
    if stale:
        logger.info("%d parts of the ledger held rows that are out of date", len(stale))
    remove_orphans(output)
    return done


def remove_orphans(output: str) -> None:
    """Delete latents that no ledger file names."""
    named = {name for part in ledger.read_parts(output) for name in part.shard_names}
    for uri in ledger.files(output, "latents"):
        if storage.name(uri) not in named:
            storage.delete(uri)


def _carry_over(part: Part, keys: frozenset[str] | set[str], output: str) -> None:
    """Commit some objects of a part as a part of their own."""
    with storage.open_input(ledger.part_uri(output, part.name)) as source:
        table = pq.read_table(source)
    table = table.filter(pc.is_in(table.column("key"), pa.array(sorted(keys))))
    clips = {clip_id for clip_id in table.column("clip_id").to_pylist() if clip_id}
    name = ledger.part_name(keys)
    ledger.write_table(table, name, _copy_shards(part.shards, clips, name, output), output)


def _copy_shards(old: Sequence[Shard], clips: set[str], name: str, output: str) -> list[Shard]:
    new: list[Shard] = []
    for shard in old:
        rows = [row for row in shards.read_rows(output, shard) if row.clip_id in clips]
        if rows:
            new.append(shards.write_shard(rows, output, ledger.shard_path(name, len(new))))
    return new
