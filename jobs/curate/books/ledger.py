"""The ledger: a row for every object and every clip, in files that each commit one part of the work.

A part's latents are written first, its ledger file last: what the ledger names is done, and latents that no ledger
file names are the leavings of a run that was ended (`jobs.curate.books.removal`).
"""

import io
import json
import secrets
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.curate.books.stored import Stored
from jobs.curate.rows import SCORE_NAMES, Clip, Examined, Scores, Source, Status, short_hash
from sora_core import storage
from sora_core.errors import CheckpointError, MissingObject
from sora_core.storage import ObjectInfo

LEDGER = pa.schema(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("clip_id", pa.string()),  # null in the row of the object itself
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("key", pa.string()),
        ("examine_key", pa.string()),
        ("kind", pa.string()),
        ("caption", pa.string()),
        ("captioner", pa.string()),
        ("description", pa.string()),
        ("summary", pa.string()),
        ("licence", pa.string()),
        ("same_as", pa.string()),  # the object, or clip, that a duplicate is one of
        ("fps", pa.float64()),
        *((name, pa.int32()) for name in ("frames", "height", "width", "scaled_height", "scaled_width", "top", "left")),
        *((name, pa.float64()) for name in SCORE_NAMES),
        ("size_bytes", pa.int64()),
        ("seconds", pa.float64()),
        ("preview", pa.binary()),
        ("area", pa.int64()),
        ("fingerprint", pa.binary()),
    ]
)
_OF_SOURCE = ("uri", "etag", "key", "examine_key", "caption", "captioner", "licence", "same_as")
_OF_CLIP = (
    "clip_id", "start_s", "end_s", "status", "reason", "fps", "frames", "height", "width", "scaled_height",
    "scaled_width", "top", "left", "description", "summary", "caption", "captioner", "area", "fingerprint", "same_as",
)  # fmt: skip
_META = b"sora_latents"
# Failures that another run may not meet again.
TRANSIENT = frozenset({
    "object_missing", "object_replaced", "internal_error", "caption_failed", "access_denied", "storage_unavailable",
    "object_archived", "storage_error", "larger_than_scratch", "decoder_killed",
})  # fmt: skip
# Pictures kept in each part for the report, of each verdict; one of a source.
_PREVIEWS_PER_VERDICT = 12


def part_name(keys: Iterable[str]) -> str:
    """The name of the part that holds these objects: the same work, the same files."""
    return f"part-{short_hash(sorted(keys))}"


def source_verdict(row: Examined) -> tuple[Status, str | None]:
    """What became of an object: kept if one of its clips is, else the reason most of them share."""
    if not row.clips:
        return ("dropped", "no_clips") if row.status == "kept" else (row.status, row.reason)
    if any(clip.status == "kept" for clip in row.clips):
        return "kept", None
    status: Status = "failed" if all(clip.status == "failed" for clip in row.clips) else "dropped"
    reasons = Counter(clip.reason for clip in row.clips if clip.status == status)
    return status, min(reasons, key=lambda reason: (-reasons[reason], reason or ""))


def to_rows(examined: Sequence[Examined]) -> Iterator[dict[str, object]]:
    """Ledger rows of sources, each followed by its clips; previews of a few sources for each verdict."""
    shown: Counter[str | None] = Counter()
    last_shown: dict[str | None, str] = {}
    for row in examined:
        source = row.source
        status, reason = source_verdict(row)
        facts = {name: getattr(source, name) for name in _OF_SOURCE}
        facts |= {"kind": row.kind}
        yield facts | {"status": status, "reason": reason, "size_bytes": source.size, "seconds": row.examine_s}
        for clip in row.clips:
            due = last_shown.get(clip.reason) != source.uri and shown[clip.reason] < _PREVIEWS_PER_VERDICT
            if due:
                shown[clip.reason] += 1
                last_shown[clip.reason] = source.uri
            yield facts | _clip_facts(clip) | {"preview": clip.preview if due else None}


def _clip_facts(clip: Clip) -> dict[str, object]:
    return {name: getattr(clip, name) for name in _OF_CLIP} | asdict(clip.scores)


def write_part(examined: Sequence[Examined], stored: Sequence[Stored], output: str) -> None:
    """Commit a part: after this its objects are done."""
    table = pa.Table.from_pylist(list(to_rows(examined)), schema=LEDGER)
    write_table(table, part_name(row.source.key for row in examined), stored, output)


def write_table(table: pa.Table, name: str, stored: Sequence[Stored], output: str) -> None:
    """Store ledger rows as the file that commits part ``name`` with its latents."""
    meta = {_META: json.dumps([file.to_dict() for file in stored])}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(meta), buffer, compression="zstd")
    storage.write_bytes(part_uri(output, name), buffer.getvalue())


def part_uri(output: str, name: str) -> str:
    return storage.join(output, "ledger", f"{name}.parquet")


def shard_paths(name: str) -> Iterator[str]:
    """Where a part's new latents lie, relative to the output. A part that is done again has its old name, and its old
    files may still be read: no two attempts write the same."""
    attempt = secrets.token_hex(3)
    return (f"latents/{name}-{number:04d}-{attempt}.parquet" for number in count())


def stored_of(part: str, output: str) -> tuple[Stored, ...]:
    """The latents of a committed part; empty when the part is gone."""
    try:
        with storage.open_input(part_uri(output, part)) as source:
            return stored_in(pq.read_schema(source))
    except MissingObject:
        return ()


def stored_in(schema: pa.Schema) -> tuple[Stored, ...]:
    """The latents that a ledger file's schema tells of."""
    return tuple(Stored.from_dict(file) for file in json.loads(schema.metadata[_META]))


def read_table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One ledger file; columns that were not known when it was written are null. CheckpointError when it holds others
    than this version knows."""
    names = list(columns or LEDGER.names)
    with storage.open_input(uri) as source:
        file = pq.ParquetFile(source)
        known = file.schema_arrow
        if any(field.name not in LEDGER.names or LEDGER.field(field.name).type != field.type for field in known):
            raise CheckpointError(f"{uri} was written by another version: give an output of its own, or delete it")
        table = file.read(columns=[name for name in names if name in known.names])
    arrays = [
        table.column(name) if name in known.names else pa.nulls(table.num_rows, LEDGER.field(name).type)
        for name in names
    ]
    return pa.table(arrays, schema=pa.schema([LEDGER.field(name) for name in names], metadata=known.metadata))


def read_rows(output: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of the whole ledger."""
    tables = list(tables_of(output, columns))
    schema = pa.schema([LEDGER.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else schema.empty_table()


def tables_of(output: str, columns: Sequence[str], leave_out: Container[str] = ()) -> Iterator[pa.Table]:
    """Some columns of the ledger, file by file, so that memory doesn't grow with it; parts to ``leave_out`` by name."""
    for uri in files(output, "ledger"):
        if name_of(uri) not in leave_out:
            yield read_table(uri, columns).replace_schema_metadata()


def name_of(uri: str) -> str:
    """The part that a ledger file commits."""
    return storage.name(uri).removesuffix(".parquet")


def files(output: str, folder: str) -> list[str]:
    """The Parquet files in a folder of the output."""
    return [item.uri for item in listed(output, folder)]


def listed(output: str, folder: str) -> list[ObjectInfo]:
    """The Parquet files in a folder of the output, with what the listing says of them."""
    try:
        found = list(storage.list_objects(storage.join(output, folder)))
    except MissingObject:
        return []
    return [item for item in found if item.uri.endswith(".parquet")]


def recall(part: str, output: str) -> dict[str, Examined]:
    """Sources of a committed part by URI, as they were examined. Empty when the part is gone."""
    try:
        rows = read_table(part_uri(output, part)).to_pylist()
    except MissingObject:
        return {}
    clips: dict[str, list[Clip]] = {}
    for row in rows:
        if row["clip_id"] is not None:
            clips.setdefault(row["uri"], []).append(_clip_of(row))
    return {row["uri"]: _examined_of(row, clips.get(row["uri"], [])) for row in rows if row["clip_id"] is None}


def _clip_of(row: dict[str, Any]) -> Clip:
    scores = Scores(**{name: row[name] for name in SCORE_NAMES})
    return Clip(**{name: row[name] for name in _OF_CLIP}, scores=scores, preview=row["preview"])


def _examined_of(row: dict[str, Any], clips: list[Clip]) -> Examined:
    source = Source(**{name: row[name] for name in _OF_SOURCE}, size=row["size_bytes"])
    if clips:
        return Examined(source, row["kind"], "kept", None, clips, row["seconds"])
    return Examined(source, row["kind"], row["status"], row["reason"], [], row["seconds"])
