"""The ledger: a row for every object and every clip, in files that each commit one part of the work.

A part's latents are written first, its ledger file last: what the ledger names is done, and latents that no ledger
file names are the leavings of a run that was ended, and are removed.
"""

import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.curate.rows import SCORE_NAMES, Clip, Examined, Scores, Status, short_hash
from sora_core import storage
from sora_core.errors import MissingObject
from sora_core.shards import Shard

logger = logging.getLogger(__name__)

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
        ("kind", pa.string()),
        ("caption", pa.string()),
        ("licence", pa.string()),
        ("fps", pa.float64()),
        *((name, pa.int32()) for name in ("frames", "height", "width")),
        *((name, pa.float64()) for name in SCORE_NAMES),
        ("size_bytes", pa.int64()),
        ("seconds", pa.float64()),
        ("preview", pa.binary()),
    ]
)
_META = b"sora_shards"
# Failures that another run may not meet again.
TRANSIENT = frozenset({"object_missing", "internal_error"})
# Pictures kept in each part for the report, of each verdict; one of a source.
_PREVIEWS_PER_VERDICT = 12


@dataclass(frozen=True, slots=True)
class Part:
    """One committed ledger file: the keys of the objects in it, and its latents."""

    name: str
    keys: frozenset[str]
    transient: frozenset[str]
    shards: tuple[Shard, ...]

    @property
    def shard_names(self) -> frozenset[str]:
        """File names of its latents."""
        return frozenset(storage.name(shard.path) for shard in self.shards)


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
        facts = {name: getattr(source, name) for name in ("uri", "etag", "key", "caption", "licence")}
        facts |= {"kind": row.kind}
        yield facts | {"status": status, "reason": reason, "size_bytes": source.size, "seconds": row.examine_s}
        for clip in row.clips:
            due = last_shown.get(clip.reason) != source.uri and shown[clip.reason] < _PREVIEWS_PER_VERDICT
            if due:
                shown[clip.reason] += 1
                last_shown[clip.reason] = source.uri
            yield facts | _clip_facts(clip) | {"preview": clip.preview if due else None}


def _clip_facts(clip: Clip) -> dict[str, object]:
    names = ("clip_id", "start_s", "end_s", "status", "reason", "fps", "frames", "height", "width")
    return {name: getattr(clip, name) for name in names} | asdict(clip.scores)


def write_part(examined: Sequence[Examined], shards: Sequence[Shard], output: str) -> None:
    """Commit a part: after this its objects are done."""
    table = pa.Table.from_pylist(list(to_rows(examined)), schema=LEDGER)
    write_table(table, part_name(row.source.key for row in examined), shards, output)


def write_table(table: pa.Table, name: str, shards: Sequence[Shard], output: str) -> None:
    """Store ledger rows as the file that commits part ``name`` with its latents."""
    meta = {_META: json.dumps([asdict(shard) for shard in shards])}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(meta), buffer, compression="zstd")
    storage.write_bytes(part_uri(output, name), buffer.getvalue())


def part_uri(output: str, name: str) -> str:
    return storage.join(output, "ledger", f"{name}.parquet")


def shard_path(name: str, number: int) -> str:
    """Where a part's latents lie, relative to the output."""
    return f"latents/{name}-{number:04d}.parquet"


def read_parts(output: str) -> list[Part]:
    """Every committed part; only the columns that say what is done are read."""
    return [_read_part(uri) for uri in files(output, "ledger")]


def _read_part(uri: str) -> Part:
    with storage.open_input(uri) as source:
        table = pq.read_table(source, columns=["key", "reason", "status"])
    rows = table.to_pylist()
    return Part(
        name=storage.name(uri).removesuffix(".parquet"),
        keys=frozenset(row["key"] for row in rows),
        transient=frozenset(row["key"] for row in rows if row["status"] == "failed" and row["reason"] in TRANSIENT),
        shards=tuple(Shard(**shard) for shard in json.loads(table.schema.metadata[_META])),
    )


def read_rows(output: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of the whole ledger."""
    tables = []
    for uri in files(output, "ledger"):
        with storage.open_input(uri) as source:
            tables.append(pq.read_table(source, columns=list(columns)).replace_schema_metadata())
    schema = pa.schema([LEDGER.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else schema.empty_table()


def files(output: str, folder: str) -> list[str]:
    """The Parquet files in a folder of the output."""
    try:
        found = list(storage.list_objects(storage.join(output, folder)))
    except MissingObject:
        return []
    return [item.uri for item in found if item.uri.endswith(".parquet")]


def scores_of(row: dict[str, object]) -> Scores:
    """The scores in a ledger row, for judging again without a look at the footage."""
    return Scores(**{name: row[name] for name in SCORE_NAMES})  # type: ignore[arg-type]
