"""What is done already: committed parts that still hold, and what of the others is carried over."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.books.parts import Part
from jobs.curate.books.stored import Stored, store
from sora_core import shards, storage
from sora_core.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an output stands before a run.

    ``done`` are the keys of objects that need nothing. ``measured`` names, by examine key, the part that holds an
    object's spans and scores although its rows are out of date. ``stale`` parts go when the run has ended, and what
    still holds of them is ``carried`` over first. ``others`` are objects that the source doesn't hold (any more): they
    stay as they are.
    """

    done: set[str] = field(default_factory=set)
    measured: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    carried: list[tuple[Part, frozenset[str]]] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


def stand(
    parts: Sequence[Part], wanted: Mapping[str, str], stored: frozenset[str], *, retry: bool = True, prune: bool = False
) -> Standing:
    """What of the ``wanted`` keys, by URI, is done, where these files of latents are ``stored``.

    With ``retry`` a failure worth another try is none that is done; with ``prune`` objects that nobody wants are out of
    date. ConfigError when latents of such are gone.
    """
    keys = frozenset(wanted.values())
    standing = Standing()
    stale: list[tuple[Part, frozenset[str]]] = []
    for part in sorted(parts, key=lambda part: (-part.modified, part.name)):
        good = (part.keys & keys) - (part.transient if retry else frozenset())
        others = frozenset[str]() if prune else _others(part, wanted, standing)
        if not part.shard_names <= stored:
            _check_lost(part, others)
            stale.append((part, frozenset()))
        elif part.keys <= good | others and standing.done.isdisjoint(part.keys):
            standing.done.update(part.keys)
        else:
            stale.append((part, good | others))
    for part, good in stale:
        still_good = good - standing.done
        if still_good:
            standing.carried.append((part, still_good))
            standing.done.update(still_good)
        measured = part.measured if retry else part.measured | part.unmeasured
        standing.measured.update(dict.fromkeys(measured - standing.measured.keys(), part.name))
        standing.stale.append(part.name)
    return standing


def _others(part: Part, wanted: Mapping[str, str], standing: Standing) -> frozenset[str]:
    """Keys of a part's objects that nobody wants and no newer part holds."""
    pairs = zip(part.uris, part.objects.column("key").to_pylist(), strict=True)
    found = {uri: key for uri, key in pairs if uri not in wanted and uri not in standing.others}
    standing.others.update(found)
    return frozenset(found.values())


def _check_lost(part: Part, others: frozenset[str]) -> None:
    if others:
        raise ConfigError(
            f"{part.name} has lost latents, and {len(others)} of its objects aren't under the source (any more): "
            "restore the files, give the source that holds them, or remove their rows by prune=true"
        )
    logger.warning("%s has lost latents; its objects are done again", part.name)


def settle(standing: Standing, output: str) -> None:
    """Commit what still holds of stale parts as parts of their own."""
    for part, keys in standing.carried:
        _carry_over(part, keys, output)
    if standing.stale:
        logger.info("%d parts of the ledger hold rows that are out of date", len(standing.stale))


def _carry_over(part: Part, keys: frozenset[str], output: str) -> None:
    """Commit some objects of a part as a part of their own."""
    table = ledger.read_table(ledger.part_uri(output, part.name))
    table = table.filter(pc.is_in(table.column("key"), pa.array(sorted(keys))))
    clips = {clip_id for clip_id in table.column("clip_id").to_pylist() if clip_id}
    name = ledger.part_name(keys)
    ledger.write_table(table, name, copy_shards(part.stored, clips, name, output), output)


def copy_shards(old: Sequence[Stored], clips: set[str], name: str, output: str) -> list[Stored]:
    """The files of which every row is among ``clips``, and copies of such rows of the others."""
    new: list[Stored] = []
    paths = ledger.shard_paths(name)
    for file in old:
        clip_ids = shards.read_table(output, file.shard, ["clip_id"]).column("clip_id").to_pylist()
        numbers = [number for number, clip_id in enumerate(clip_ids) if clip_id in clips]
        if len(numbers) == file.shard.rows:
            new.append(file)
        elif numbers:
            rows = shards.read_rows(output, file.shard, numbers)
            new.append(store(rows, output, next(paths), time.monotonic()))
    return new


def stored_names(output: str) -> frozenset[str]:
    """File names of all latents that lie under the output."""
    return frozenset(storage.name(uri) for uri in ledger.files(output, "latents"))
