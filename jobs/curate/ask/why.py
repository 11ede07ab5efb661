"""``why``: what became of an object or a clip, from the ledger."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.rows import SCORE_NAMES
from jobs.launch import JobConfig
from jobs.progress import say
from sora_core import storage
from sora_core.errors import MissingObject

_COLUMNS = ["uri", "clip_id", "etag", "start_s", "end_s", "status", "reason", "kind", "caption", "captioner", "same_as",
            "frames", "height", "width", *SCORE_NAMES]  # fmt: skip


class WhyConfig(JobConfig, extra="ignore"):
    """Where to look; a whole curation config will do."""

    output: str


def why(what: str, config: WhyConfig) -> None:
    """Print what the ledger knows of a clip id, a URI or the end of one. InputError when it knows nothing."""
    storage.check_readable(config.output)
    rows = find(what, config.output)
    if not rows:
        raise MissingObject(
            f"{what}: neither an object nor a clip in the ledger under {config.output}; give a clip id, a URI or the "
            "end of one, or curate first"
        )
    for row in rows:
        say(describe(row))


def find(what: str, output: str) -> list[dict[str, Any]]:
    """The ledger's rows of a clip (with its object's) or of the objects whose URI is or ends with ``what``."""
    found = [row for table in ledger.tables_of(output, _COLUMNS) for row in _in_table(what, table)]
    return sorted(found, key=lambda row: (row["uri"], row["start_s"] if row["start_s"] is not None else -1.0))


def _in_table(what: str, table: pa.Table) -> list[dict[str, Any]]:
    """As `find`, in the file of the ledger that holds an object with all its clips."""
    uris = pc.unique(table.filter(pc.equal(table.column("clip_id"), what)).column("uri"))
    if len(uris):
        chosen = pc.and_(
            pc.is_in(table.column("uri"), uris),
            pc.or_kleene(pc.is_null(table.column("clip_id")), pc.equal(table.column("clip_id"), what)),
        )
    else:
        ends = pc.ends_with(table.column("uri"), pattern="/" + what.lstrip("/"))
        chosen = pc.or_(pc.equal(table.column("uri"), what), ends)
    found: list[dict[str, Any]] = table.filter(chosen).to_pylist()
    return found


def describe(row: dict[str, Any]) -> str:
    """One row for a person: an object by its URI, its clips below it."""
    verdict = row["status"] + (f" ({row['reason']})" if row["reason"] else "")
    verdict += f" of {row['same_as']}" if row["same_as"] else ""
    if row["clip_id"] is None:
        words = f", caption by {row['captioner']}: {row['caption']!r}" if row["caption"] else ""
        return f"{row['uri']}: {verdict}, {row['kind'] or 'no media'}, etag {row['etag']}{words}"
    scores = ", ".join(f"{name} {row[name]:.4g}" for name in SCORE_NAMES if row[name] is not None)
    size = f"{row['frames']} frames of {row['width']}x{row['height']}"
    return f"  {row['clip_id']} {row['start_s']:.2f}-{row['end_s']:.2f} s, {size}: {verdict}; {scores}"
