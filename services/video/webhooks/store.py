"""Endpoints and outgoing events in the ledger's database; every method is one transaction."""

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.video.job import Job, Kind, Status
from services.video.ledger import Ledger
from services.video.ledger.rows import job_of
from services.video.ledger.tables import database, jobs, webhook_deliveries, webhook_endpoints
from services.video.ledger.used import note_usage
from services.video.webhooks.signing import new_secret

EVENT_TYPES = ("video.completed", "video.failed")
_OLD_SECRET_S = 24 * 3600.0
_ANNOUNCED_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A URL that hears of events of its owner's videos. Times are Unix seconds."""

    id: str
    owner: str
    name: str
    url: str
    event_types: Sequence[str]
    secret: str
    old_secret: str | None
    old_secret_until: float | None
    created_at: float
    updated_at: float
    failing_since: float | None = None
    disabled_at: float | None = None

    def secrets_at(self, now: float) -> list[str]:
        """The secrets that are valid at a time, the newest first."""
        old_counts = self.old_secret is not None and now < (self.old_secret_until or 0.0)
        return [self.secret, self.old_secret] if old_counts and self.old_secret else [self.secret]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to an endpoint; ``attempts`` counts this one."""

    event_id: str
    endpoint: Endpoint
    body: str
    created_at: float
    attempts: int


def event_of(event_type: str, job_id: str, now: float) -> tuple[str, str]:
    """The id and the body of an event about a video."""
    event_id = f"evt_{secrets.token_hex(16)}"
    body = {"id": event_id, "object": "event", "created_at": int(now), "type": event_type, "data": {"id": job_id}}
    return event_id, json.dumps(body, separators=(",", ":"))


class WebhookStore:
    """Endpoints by owner, and the outbox."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._engine = ledger.engine
        self._clock = clock or ledger.now

    def now(self) -> float:
        """Unix seconds by the clock of the ledger."""
        return self._clock()

    # --- endpoints

    def add(self, owner: str, name: str, url: str, event_types: Sequence[str], most: int) -> Endpoint | None:
        """A new endpoint with a secret of its own; None when the owner has ``most`` already."""
        now = self._clock()
        row: dict[str, Any] = {
            "id": f"we_{int(now * 1000):012x}{secrets.token_hex(10)}",
            "owner": owner,
            "name": name,
            "url": url,
            "event_types": list(event_types),
            "secret": new_secret(),
            "old_secret": None,
            "old_secret_until": None,
            "created_at": now,
            "updated_at": now,
        }
        mine = sa.select(sa.func.count()).where(webhook_endpoints.c.owner == owner)
        with database(self._engine, writes=True) as db:
            if db.execute(mine).scalar_one() >= most:
                return None
            db.execute(webhook_endpoints.insert().values(**row))
        return Endpoint(**row)

    def get(self, endpoint_id: str, owner: str) -> Endpoint | None:
        """An endpoint of the owner's."""
        with database(self._engine, writes=False) as db:
            return _endpoint(db, _own(endpoint_id, owner))

    def page(self, owner: str, after: str | None, limit: int) -> tuple[list[Endpoint], bool]:
        """The owner's endpoints, newest first, and whether there are more."""
        where = [webhook_endpoints.c.owner == owner]
        if after is not None:
            where.append(webhook_endpoints.c.id < after)
        query = sa.select(webhook_endpoints).where(*where).order_by(webhook_endpoints.c.id.desc()).limit(limit + 1)
        with database(self._engine, writes=False) as db:
            rows = db.execute(query).all()
        return [Endpoint(**row._mapping) for row in rows[:limit]], len(rows) > limit

    def change(self, endpoint_id: str, owner: str, values: dict[str, Any]) -> Endpoint | None:
        """Change what is given; the endpoint as it is then."""
        with database(self._engine, writes=True) as db:
            if values:
                update = webhook_endpoints.update().where(_own(endpoint_id, owner))
                again = {"failing_since": None, "disabled_at": None}  # whoever changes it looks after it
                db.execute(update.values(**values, **again, updated_at=self._clock()))
            return _endpoint(db, _own(endpoint_id, owner))

    def rotate_secret(self, endpoint_id: str, owner: str, *, keep_old: bool) -> Endpoint | None:
        """Give an endpoint a new secret; the old one stays valid for a day when asked."""
        until = self._clock() + _OLD_SECRET_S
        values: dict[str, Any] = {"secret": new_secret(), "old_secret": None, "old_secret_until": None}
        if keep_old:
            values |= {"old_secret": webhook_endpoints.c.secret, "old_secret_until": until}
        return self.change(endpoint_id, owner, values)

    def disable_failing(self, longest_s: float) -> list[str]:
        """Send nothing more to endpoints that took nothing for so long, until they are changed; their ids."""
        now = self._clock()
        failing = webhook_endpoints.c.failing_since < now - longest_s
        query = sa.select(webhook_endpoints.c.id).where(failing, webhook_endpoints.c.disabled_at.is_(None))
        with database(self._engine, writes=False) as db:
            if db.execute(query.limit(1)).first() is None:
                return []
        with database(self._engine, writes=True) as db:
            found = list(db.execute(query).scalars())
            db.execute(webhook_endpoints.update().where(webhook_endpoints.c.id.in_(found)).values(disabled_at=now))
            db.execute(webhook_deliveries.delete().where(webhook_deliveries.c.endpoint_id.in_(found)))
        return found

    def remove(self, endpoint_id: str, owner: str) -> bool:
        """Forget an endpoint and what is on its way to it; False when there is none."""
        with database(self._engine, writes=True) as db:
            gone = db.execute(webhook_endpoints.delete().where(_own(endpoint_id, owner))).rowcount == 1
            if gone:
                db.execute(webhook_deliveries.delete().where(webhook_deliveries.c.endpoint_id == endpoint_id))
        return gone

    # --- the outbox

    def announce(self) -> int:
        """Turn ends of jobs into events, each once and for the endpoints that want it; how many ends.

        The end of a job and the note that it was announced are apart, so an event is never lost with a process that
        dies between them.
        """
        ended = ~jobs.c.announced & jobs.c.status.in_((Status.COMPLETED, Status.FAILED))
        query = sa.select(jobs).where(ended).order_by(jobs.c.id).limit(_ANNOUNCED_AT_ONCE)
        with database(self._engine, writes=False) as db:
            if db.execute(query.limit(1)).first() is None:
                return 0
        with database(self._engine, writes=True) as db:
            found = [job_of(row) for row in db.execute(query.with_for_update(skip_locked=True))]
            rows = list(self._events(db, [job for job in found if job.kind is Kind.VIDEO and job.deleted_at is None]))
            if rows:
                db.execute(webhook_deliveries.insert(), rows)
            note_usage(db, found, self._clock())
            db.execute(jobs.update().where(jobs.c.id.in_([job.id for job in found])).values(announced=True))
        return len(found)

    def _events(self, db: sa.Connection, ended: Sequence[Job]) -> Iterator[dict[str, Any]]:
        owners = {job.owner for job in ended}
        wanted = webhook_endpoints.c.owner.in_(owners) & webhook_endpoints.c.disabled_at.is_(None)
        query = sa.select(webhook_endpoints).where(wanted)
        endpoints = [Endpoint(**row._mapping) for row in db.execute(query)]
        now = self._clock()
        for job in ended:
            event_type = f"video.{job.status}"
            event_id, body = event_of(event_type, job.id, now)
            for endpoint in endpoints:
                if endpoint.owner == job.owner and event_type in endpoint.event_types:
                    yield _delivery_row(event_id, endpoint.id, body, now)

    def claim(self, limit: int, lease_s: float, busy: Collection[str] = ()) -> list[Delivery]:
        """Due events to send now, one an endpoint and none to the busy ones; they are due again after ``lease_s``.

        Owners have turns: a second endpoint of one comes after the first of every other.
        """
        now = self._clock()
        table = webhook_deliveries
        with database(self._engine, writes=False) as db:
            rows = {row.endpoint_id: row for row in db.execute(_due(now, busy, limit))}
        if not rows:
            return []
        claimed = []
        with database(self._engine, writes=True) as db:
            for row in list(rows.values())[:limit]:
                same = _this(row.event_id, row.endpoint_id) & (table.c.due_at == row.due_at)
                update = table.update().where(same).values(due_at=now + lease_s, attempts=row.attempts + 1)
                if db.execute(update).rowcount:
                    endpoint = Endpoint(**{column.name: row._mapping[column] for column in webhook_endpoints.c})
                    claimed.append(Delivery(row.event_id, endpoint, row.body, row.event_created_at, row.attempts + 1))
        return claimed

    def settle(self, delivery: Delivery, due_at: float | None, *, taken: bool = True) -> None:
        """Try a delivery again at ``due_at`` (Unix seconds), or never: it has arrived, or is given up. ``taken``: the
        endpoint took it."""
        this, mine = _this(delivery.event_id, delivery.endpoint.id), webhook_endpoints.c.id == delivery.endpoint.id
        since = None if taken else sa.func.coalesce(webhook_endpoints.c.failing_since, self._clock())
        with database(self._engine, writes=True) as db:
            if not taken or delivery.endpoint.failing_since is not None:
                db.execute(webhook_endpoints.update().where(mine).values(failing_since=since))
            if due_at is None:
                db.execute(webhook_deliveries.delete().where(this))
            else:
                db.execute(webhook_deliveries.update().where(this).values(due_at=due_at))


def _due(now: float, busy: Collection[str], limit: int) -> sa.Select[Any]:
    """The oldest due event of each endpoint, a second one of an owner after the first of every other."""
    events, ends = webhook_deliveries, webhook_endpoints
    first = sa.func.row_number().over(partition_by=events.c.endpoint_id, order_by=(events.c.due_at, events.c.event_id))
    waiting = sa.select(events, first.label("place")).where(events.c.due_at <= now, events.c.endpoint_id.not_in(busy))
    oldest = waiting.subquery()
    turn = sa.func.row_number().over(partition_by=ends.c.owner, order_by=oldest.c.due_at).label("turn")
    event = [oldest.c[name] for name in ("event_id", "endpoint_id", "body", "attempts", "due_at")]
    columns: list[Any] = [*event, oldest.c.created_at.label("event_created_at"), *ends.c, turn]
    each: sa.Select[Any] = sa.select(*columns).join_from(oldest, ends, oldest.c.endpoint_id == ends.c.id)
    return each.where(oldest.c.place == 1).order_by(turn, oldest.c.due_at).limit(limit)


def _own(endpoint_id: str, owner: str) -> sa.ColumnElement[bool]:
    return (webhook_endpoints.c.id == endpoint_id) & (webhook_endpoints.c.owner == owner)


def _this(event_id: str, endpoint_id: str) -> sa.ColumnElement[bool]:
    return (webhook_deliveries.c.event_id == event_id) & (webhook_deliveries.c.endpoint_id == endpoint_id)


def _endpoint(db: sa.Connection, where: sa.ColumnElement[bool]) -> Endpoint | None:
    row = db.execute(sa.select(webhook_endpoints).where(where)).one_or_none()
    return None if row is None else Endpoint(**row._mapping)


def _delivery_row(event_id: str, endpoint_id: str, body: str, now: float) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "endpoint_id": endpoint_id,
        "body": body,
        "created_at": now,
        "attempts": 0,
        "due_at": now,
    }
