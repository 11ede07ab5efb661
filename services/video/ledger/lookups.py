"""What the API asks the ledger's database about many jobs, or about allowances, at once."""

from collections.abc import Sequence

import sqlalchemy as sa

from services.video.job import Job, Page, Status
from services.video.ledger.ledger import Ledger
from services.video.ledger.rates import Charge, Meter, spend
from services.video.ledger.rows import job_of
from services.video.ledger.tables import allowances, database, jobs


def jobs_of(ledger: Ledger, ids: Sequence[str]) -> list[Job]:
    """Those of the jobs that are there and not deleted. LedgerUnavailable when the database doesn't answer."""
    query = sa.select(jobs).where(jobs.c.id.in_(ids), jobs.c.deleted_at.is_(None))
    with database(ledger.engine, writes=False) as db:
        return [job_of(row) for row in db.execute(query)]


def check_allowance(ledger: Ledger, owner: str, charges: Sequence[Charge], now: float) -> None:
    """OverRate when the owner couldn't pay the charges now; nothing is used."""
    if not charges:
        return
    query = sa.select(allowances).where(allowances.c.owner == owner)
    with database(ledger.engine, writes=False) as db:
        meters = {row.unit: Meter(row.used, row.counted_at) for row in db.execute(query)}
    for charge in charges:
        spend(meters.get(charge.unit, Meter(0.0, now)), charge, now)


def page_of_all(ledger: Ledger, owner: str | None, status: Status | None, after: str | None, limit: int) -> Page:
    """Jobs of every kind and owner, or of one, newest first; ``after`` is the last id of the page before."""
    where: list[sa.ColumnElement[bool]] = [jobs.c.deleted_at.is_(None)]
    where += [] if owner is None else [jobs.c.owner == owner]
    where += [] if status is None else [jobs.c.status == status]
    where += [] if after is None else [sa.func.substr(jobs.c.id, 7) < after[6:]]
    newest = sa.func.substr(jobs.c.id, 7).desc()  # after "video_" or "image_"
    query = sa.select(jobs).where(*where).order_by(newest).limit(limit + 1)
    with database(ledger.engine, writes=False) as db:
        rows = db.execute(query).all()
    return Page([job_of(row) for row in rows[:limit]], has_more=len(rows) > limit)
