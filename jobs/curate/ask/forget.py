"""``forget``: takes an object or a clip out of an output for good, and names the checkpoints that may have seen it."""

import json
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.ask.why import find
from jobs.curate.books import account, forgotten, ledger, removal, resume
from jobs.curate.books.lease import Lease, held
from jobs.curate.books.parts import Part, read_parts
from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import close
from jobs.curate.verdicts import FORGOTTEN
from jobs.launch import JobConfig
from jobs.progress import say
from sora_core import shards, storage
from sora_core.errors import MissingObject

# What of a clip shows or describes it.
_TELLING = ("caption", "captioner", "description", "summary", "preview", "fingerprint")
_META = "meta.json"


class ForgetConfig(JobConfig, extra="ignore"):
    """Where to take it out; a whole curation config will do."""

    output: str
    checkpoints: tuple[str, ...] = ()
    """Places of training runs that are searched for checkpoints which may have seen it."""


def forget(what: str, config: ForgetConfig) -> None:
    """Remove the latents, words and pictures of a clip, or of all clips of an object, at once; later runs leave it out.

    The rows stay, dropped as ``forgotten``. InputError when the ledger knows neither.
    """
    storage.check_writable(config.output)
    rows = find(what, config.output)
    if not rows:
        raise MissingObject(f"{what}: neither an object nor a clip in the ledger under {config.output}")
    chosen = [row for row in rows if row["clip_id"] == what] or [row for row in rows if row["clip_id"] is None]
    with held(config.output) as lease:
        forgotten.note(config.output, [row | {"size_bytes": _size(row["uri"], config.output)} for row in chosen])
        for part in read_parts(config.output):
            _without(part, {row["uri"] for row in chosen}, {row["clip_id"] for row in chosen}, config.output)
        _close(config.output, lease)
    say(f"forget: {', '.join(sorted({row['clip_id'] or row['uri'] for row in chosen}))} is taken out")
    for uri in seen_by(config.output, config.checkpoints):
        say(f"forget: {uri} may have seen it: it was trained on {config.output}")


def _size(uri: str, output: str) -> int:
    """The bytes of an object, by the ledger."""
    for table in ledger.tables_of(output, ["uri", "clip_id", "size_bytes"]):
        found = table.filter(pc.and_(pc.equal(table.column("uri"), uri), pc.is_null(table.column("clip_id"))))
        if found.num_rows:
            return int(found.column("size_bytes")[0].as_py() or 0)
    return 0


def _without(part: Part, uris: Collection[str], clip_ids: Collection[str | None], output: str) -> None:
    """Commit a part again without what was taken out; ``clip_ids`` of None alone mean every clip of the objects."""
    if not any(uri in uris for uri in part.uris):
        return
    table = ledger.read_table(ledger.part_uri(output, part.name))
    whole = set(clip_ids) == {None}
    rows = [
        _emptied(row) if row["uri"] in uris and (whole or row["clip_id"] in clip_ids) else row
        for row in table.to_pylist()
    ]
    kept = {row["clip_id"] for row in rows if row["clip_id"] and row["status"] == "kept"}
    for row in rows:
        if (
            row["clip_id"] is None
            and row["uri"] in uris
            and not any(other["clip_id"] in kept for other in rows if other["uri"] == row["uri"])
        ):
            row |= {"status": "dropped", "reason": FORGOTTEN}
    stored = resume.copy_shards(part.stored, kept, part.name, output)
    ledger.write_table(pa.Table.from_pylist(rows, schema=ledger.LEDGER), part.name, stored, output)


def _emptied(row: dict[str, Any]) -> dict[str, Any]:
    if row["clip_id"] is None:
        return row | dict.fromkeys(_TELLING) | {"status": "dropped", "reason": FORGOTTEN}
    return row | dict.fromkeys(_TELLING) | {"status": "dropped", "reason": FORGOTTEN, "same_as": FORGOTTEN}


def _close(output: str, lease: Lease) -> None:
    """The manifest and the report of what is left, and no grace for the files that held the rest."""
    config = CurateConfig.model_validate(json.loads(storage.read_bytes(storage.join(output, "config.json"))))
    config = config.model_copy(update={"output": output, "grace_hours": 0.0, "max_removed": 1.0})
    live = read_parts(output)
    if not any(part.stored for part in live):
        storage.delete(storage.join(output, "manifest.json"))
        removal.sweep(output, (), live, 0.0, lease)
        say(f"forget: nothing is left under {output}")
        return
    encoders = account.encoders_of(shards.read_manifest(output))
    wanted = [uri for part in live for uri in part.uris]
    close(config, encoders, wanted, (), resume.Standing(), set(), lease)


def seen_by(output: str, places: Collection[str]) -> Iterator[str]:
    """Checkpoints under some places that were trained on an output."""
    for place in places:
        for item in storage.list_objects(place):
            if storage.name(item.uri) != _META:
                continue
            data = json.loads(storage.read_bytes(item.uri)).get("data") or {}
            if str(data.get("uri", "")).rstrip("/") == output.rstrip("/"):
                yield item.uri.removesuffix("/" + _META)
