"""Rows of the ledger and the values that they stand for; every function works inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from services.video.job import OPEN, Idempotency, IdempotencyConflict, Job, Kind, NewJob, RequestGone, Stage, Status
from services.video.ledger.rates import Charge, Meter, spend
from services.video.ledger.tables import allowances, jobs, requests

_COLUMNS = tuple(jobs.c.keys())


def new_row(new: NewJob, now: float) -> dict[str, Any]:
    return {
        "id": new.id,
        "owner": new.owner,
        "model": new.model,
        "status": Status.QUEUED,
        "progress": 0,
        "params": new.params,
        "tokens": new.tokens,
        "num_steps": new.num_steps,
        "priority": new.priority,
        "queued_as": new.queued_as,
        "attempts": 0,
        "cancel_requested": False,
        "created_at": now,
        "expires_at": new.expires_at,
        "stage": new.stage,
        "made": new.made,
        "losses": 0,
        "deadline_at": new.deadline_at,
        "announced": False,
        "predicted_s": new.predicted_s,
        "reckoned_s": new.reckoned_s,
    }


def new_job(row: Mapping[str, Any]) -> Job:
    """The job that a new row is."""
    values: dict[str, Any] = dict.fromkeys(_COLUMNS)
    return Job(**values | dict(row))


def job_of(row: sa.Row[Any]) -> Job:
    cells = row._mapping
    values = {name: cells[name] for name in _COLUMNS}
    return Job(**values | {"status": Status(values["status"]), "stage": Stage(values["stage"])})


def select_jobs(db: sa.Connection, *where: sa.ColumnElement[bool], lock: bool = False) -> list[Job]:
    query = sa.select(jobs).where(*where).order_by(jobs.c.id)
    return [job_of(row) for row in db.execute(query.with_for_update() if lock else query)]


def of_kind(kind: Kind) -> sa.ColumnElement[bool]:
    return jobs.c.id.startswith(f"{kind}_", autoescape=True)


def visible(job_id: str, owner: str | None) -> sa.ColumnElement[bool]:
    mine = jobs.c.owner == owner if owner is not None else sa.true()
    return (jobs.c.id == job_id) & jobs.c.deleted_at.is_(None) & mine


def free() -> sa.ColumnElement[bool]:
    """Open and in nobody's hands: waiting to be sampled, or between sampler and decoder."""
    return jobs.c.status.in_(OPEN) & jobs.c.lease_owner.is_(None)


def failure(code: str, message: str, now: float) -> dict[str, Any]:
    return {"status": Status.FAILED, "error_code": code, "error_message": message, "completed_at": now}


def use(db: sa.Connection, owner: str, charges: Sequence[Charge], now: float) -> None:
    """Take what a request uses from its owner's allowances. OverRate when one doesn't suffice."""
    for charge in charges:
        mine = (allowances.c.owner == owner) & (allowances.c.unit == charge.unit)
        query = sa.select(allowances.c.used, allowances.c.counted_at).where(mine).with_for_update()
        row = db.execute(query).one_or_none()
        if row is None:
            with suppress(sa.exc.IntegrityError), db.begin_nested():  # another API replica may be faster
                db.execute(allowances.insert().values(owner=owner, unit=charge.unit, used=0.0, counted_at=now))
            row = db.execute(query).one()
        meter = spend(Meter(row.used, row.counted_at), charge, now)
        db.execute(allowances.update().where(mine).values(used=meter.used, counted_at=meter.counted_at))


def remember(db: sa.Connection, once: Idempotency, owner: str, ids: list[str], now: float) -> list[str] | None:
    """Note which jobs a request makes; the ids that it made earlier when it is a repetition."""
    made = remembered(db, once, owner)
    if made is not None:
        return made
    row = {"owner": owner, "idempotency_key": once.key, "digest": once.digest, "job_ids": ids, "created_at": now}
    try:
        with db.begin_nested():
            db.execute(requests.insert().values(row))
    except sa.exc.IntegrityError:  # another API replica was faster with the same key
        return remembered(db, once, owner)
    return None


def remembered(db: sa.Connection, once: Idempotency, owner: str) -> list[str] | None:
    """The ids that a request with this key made; None when there was none. IdempotencyConflict for another request."""
    mine = (requests.c.owner == owner) & (requests.c.idempotency_key == once.key)
    earlier = db.execute(sa.select(requests.c.digest, requests.c.job_ids).where(mine)).one_or_none()
    if earlier is None:
        return None
    if earlier.digest != once.digest:
        raise IdempotencyConflict(f"Idempotency-Key {once.key!r} was used for another request; choose a new key")
    return list(earlier.job_ids)


def left_of(db: sa.Connection, once: Idempotency, ids: Sequence[str], now: float) -> list[Job]:
    """What can still be had of the jobs of an earlier request. RequestGone when nothing can."""
    lasting = jobs.c.expires_at.is_(None) | (jobs.c.expires_at > now)
    left = select_jobs(db, jobs.c.id.in_(ids), jobs.c.deleted_at.is_(None), lasting)
    if not left:
        message = f"what the request with Idempotency-Key {once.key!r} made was deleted or has expired"
        raise RequestGone(f"{message}; choose a new key to make it again")
    return left
