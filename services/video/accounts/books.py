"""What was used, a row for each job that ended, and what operators did."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from services.video.ledger import Ledger
from services.video.ledger.account_tables import audit, usage
from services.video.ledger.tables import database

GroupBy = Literal["owner", "key", "day"]


@dataclass(frozen=True, slots=True)
class Used:
    """The use of a group of jobs; ``device_seconds`` as the model's samplers are fast."""

    owner: str
    key_id: str | None
    day: int | None
    requests: int
    video_seconds: float
    device_seconds: float


@dataclass(frozen=True, slots=True)
class Action:
    """An entry of the audit log: who did what to what. ``at`` is in Unix seconds."""

    id: str
    at: float
    actor: str
    action: str
    target: str
    details: Mapping[str, Any]


class Books:
    """Each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._engine = ledger.engine
        self._clock = clock or ledger.now

    def used(self, since: float, until: float, owner: str | None = None, group_by: GroupBy = "key") -> list[Used]:
        """The use between two times by owner, by key, or by key and day (the number of days since 1970, UTC)."""
        groups: dict[str, Any] = {"owner": usage.c.owner}
        if group_by != "owner":
            groups["key_id"] = usage.c.key_id
        if group_by == "day":
            groups["day"] = usage.c.day
        mine = sa.true() if owner is None else usage.c.owner == owner
        sums = (
            sa.func.count().label("requests"),
            sa.func.sum(usage.c.video_seconds).label("video_seconds"),
            sa.func.sum(usage.c.device_seconds).label("device_seconds"),
        )
        query = sa.select(*(column.label(name) for name, column in groups.items()), *sums)
        query = query.where(usage.c.ended_at >= since, usage.c.ended_at < until, mine)
        with database(self._engine, writes=False) as db:
            rows = db.execute(query.group_by(*groups.values()).order_by(*groups.values())).all()
        return [Used(**({"key_id": None, "day": None} | dict(row._mapping))) for row in rows]

    def note(self, actor: str, action: str, target: str, **details: Any) -> None:
        """Write down what an operator did."""
        now = self._clock()
        entry_id = f"audit_{int(now * 1000):012x}{secrets.token_hex(6)}"
        row = {"id": entry_id, "at": now, "actor": actor, "action": action, "target": target, "details": details}
        with database(self._engine, writes=True) as db:
            db.execute(audit.insert().values(**row))

    def actions(self, limit: int = 100, before: str | None = None) -> list[Action]:
        """The audit log, newest first, from before an entry on."""
        older = sa.true() if before is None else audit.c.id < before
        query = sa.select(audit).where(older).order_by(audit.c.id.desc()).limit(limit)
        with database(self._engine, writes=False) as db:
            return [Action(**row._mapping) for row in db.execute(query)]
