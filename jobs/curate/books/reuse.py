"""Latents of an earlier run that still hold: files that stay as they are, and rows that are carried over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.curate.books import ledger
from jobs.curate.books.stored import Stored
from jobs.curate.rows import Clip, Source
from jobs.curate.stages.latents import Maker
from sora_core import shards
from sora_core.errors import MissingObject
from sora_core.shards import Row

Wanted = Mapping[str, tuple[Source, Clip]]


@dataclass(frozen=True, slots=True)
class Found:
    """Files whose every row is wanted as it is, the others with the numbers of such rows in them, and the clips that
    both hold."""

    whole: list[Stored]
    torn: list[tuple[Stored, list[int]]]
    clip_ids: frozenset[str]


def find(parts: Sequence[str], wanted: Wanted, maker: Maker, output: str) -> Found:
    """Look through the latents of earlier parts; only small columns are read."""
    whole: list[Stored] = []
    torn: list[tuple[Stored, list[int]]] = []
    clip_ids: set[str] = set()
    for part in parts:
        for file in ledger.stored_of(part, output):
            marks = _marks(file, wanted, maker, output)
            good = {clip_id for clip_id, mark in marks.items() if mark != "other"} - clip_ids
            if len(good) == file.shard.rows and set(marks.values()) == {"same"}:
                whole.append(file)
            elif good:
                torn.append((file, [number for number, clip_id in enumerate(marks) if clip_id in good]))
            clip_ids |= good
    return Found(whole, torn, frozenset(clip_ids))


def _marks(file: Stored, wanted: Wanted, maker: Maker, output: str) -> dict[str, str]:
    """What each row of a file is by clip id: the ``same`` as wanted, of the same ``latents``, or an ``other``."""
    try:
        rows = shards.read_table(output, file.shard, ["clip_id", *maker.columns]).to_pylist()
    except MissingObject:
        return {}
    return {row["clip_id"]: maker.compare(row, *wanted.get(row["clip_id"], (None, None))) for row in rows}


def carried(found: Found, wanted: Wanted, maker: Maker, output: str) -> Iterator[Row]:
    """The wanted rows of torn files, as they are to be written now."""
    for file, numbers in found.torn:
        for row in shards.read_rows(output, file.shard, numbers):
            yield maker.restated(row, *wanted[row.clip_id])
