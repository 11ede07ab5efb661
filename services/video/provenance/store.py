"""What is remembered of each file that left, by the number in its mark: it outlives the file, and tells no owner."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from services.video.ledger import Ledger
from services.video.ledger.tables import database, origins
from sora_core.safety.coding import ID_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOrigin:
    """A file that this service made: ``manifest`` is its C2PA manifest store, None while it isn't signed."""

    mark: int
    job_id: str
    model: str
    media_type: str
    made_at: float
    manifest: bytes | None = None

    @property
    def generated_at(self) -> str:
        """When it was made, as RFC 3339 says it."""
        return datetime.fromtimestamp(self.made_at, UTC).isoformat(timespec="seconds")


def mark_of(job_id: str) -> int:
    """The number in a job's pixels: any worker, at any attempt, comes to the same."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[: ID_BITS // 8], "big")


class OriginStore:
    """Origins by mark; each method is one transaction. LedgerUnavailable when the database doesn't answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine

    def remember(self, origin: KnownOrigin) -> None:
        """Keep an origin, in place of what an earlier attempt at the same job left."""
        with database(self._engine, writes=True) as db:
            db.execute(origins.delete().where(origins.c.mark == origin.mark))
            db.execute(origins.insert().values(**asdict(origin)))

    def by_mark(self, mark: int) -> KnownOrigin | None:
        """What is known of the file whose pixels say this number."""
        with database(self._engine, writes=False) as db:
            row = db.execute(sa.select(origins).where(origins.c.mark == mark)).one_or_none()
        return None if row is None else KnownOrigin(**row._mapping)
