"""What was taken out of an output for good: objects and clips that no later run brings back."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobs.curate.listing import Plan
from jobs.curate.rows import Examined, Source, short_hash
from jobs.curate.verdicts import FORGOTTEN
from sora_core import storage
from sora_core.errors import MissingObject


@dataclass(frozen=True, slots=True)
class Takedown:
    """An object, or with ``clip_id`` one clip of it. ``etag`` and ``size_bytes`` are its content's, so that in a bucket
    a copy under another name goes too. ``at`` is in Unix seconds."""

    uri: str
    etag: str
    size_bytes: int
    clip_id: str | None
    at: float

    def is_of(self, source: Source) -> bool:
        """Whether it means this object, by name or, in a bucket, by content."""
        same = storage.is_s3(source.uri) and (self.etag, self.size_bytes) == (source.etag, source.size)
        return same or self.uri == source.uri


def takedowns(output: str) -> list[Takedown]:
    """All of an output, the oldest first."""
    try:
        return [Takedown(**values) for values in json.loads(storage.read_bytes(_uri(output)))]
    except MissingObject:
        return []


def note(output: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write takedowns down; ``rows`` are the ledger's, of objects or of clips."""
    known = takedowns(output)
    names = ("uri", "etag", "size_bytes", "clip_id")
    new = [Takedown(**{name: row[name] for name in names}, at=time.time()) for row in rows]
    storage.write_bytes(_uri(output), json.dumps([asdict(one) for one in [*known, *new]], indent=1).encode())


def without(plan: Plan, output: str) -> Plan:
    """The plan with what was taken out as rows that need no look, and single clips as copies of nothing; both enter
    their object's key."""
    known = takedowns(output)
    if not known:
        return plan
    sources, others = [], list(plan.others)
    for source in plan.sources:
        meant = [one for one in known if one.is_of(source)]
        if any(one.clip_id is None for one in meant):
            key = short_hash(source.key, FORGOTTEN)
            others.append(Examined(replace(source, key=key, examine_key=key), None, "dropped", FORGOTTEN))
        elif meant:
            copies = {one.clip_id: FORGOTTEN for one in meant if one.clip_id}
            key = short_hash(source.key, sorted(copies))
            sources.append(replace(source, key=key, copies={**source.copies, **copies}))
        else:
            sources.append(source)
    return Plan(sources, others)


def _uri(output: str) -> str:
    return storage.join(output, "forgotten.json")
