"""The ledger: every accepted job, who works on it, and how it ended.

Work is at least once, its result exactly once. A worker *claims* a queued job and holds it by a lease that it renews;
a lease that runs out goes back to the queue. Every write of a worker names its lease (worker and attempt), so one that
lost its job can neither finish nor fail it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Self

import sqlalchemy as sa

from services.video.job import (
    CANCELLED,
    OPEN,
    Idempotency,
    Job,
    Kind,
    NewJob,
    Page,
    Status,
)
from services.video.ledger.cast import Cast
from services.video.ledger.database import Database
from services.video.ledger.rates import Charge
from services.video.ledger.roster import Roster
from services.video.ledger.rows import (
    failure,
    free,
    job_of,
    left_of,
    new_job,
    new_row,
    of_kind,
    remember,
    remembered,
    select_jobs,
    use,
    visible,
)
from services.video.ledger.statements import (
    visible_query,
)
from services.video.ledger.tables import jobs, open_database, requests
from services.video.ledger.used import note_usage
from services.video.ledger.work import Work


class Ledger(Work):
    """All about jobs, here the API's side; each method is one transaction.

    Beside them in the same database: ``roster``, who works on what, and ``cast``, the characters.
    Raises LedgerUnavailable when the database doesn't answer.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] | None = None) -> None:
        """``clock`` gives Unix seconds; the database's own when none is given."""
        super().__init__(Database(engine, clock))
        self.roster = Roster(self._database)
        self.cast = Cast(self._database)

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] | None = None) -> Self:
        """The ledger at a database URL, its tables created or brought up to date."""
        return cls(open_database(url), clock)

    def now(self) -> float:
        """Unix seconds by the ledger's clock, on which all its hosts agree."""
        return self._database.now()

    @property
    def engine(self) -> sa.Engine:
        """The database, for what lives beside the jobs."""
        return self._database.engine

    def close(self) -> None:
        self.engine.dispose()

    def create(
        self, new: Sequence[NewJob], once: Idempotency | None = None, charges: Sequence[Charge] = ()
    ) -> list[Job]:
        """Accept all jobs of a request, or none; a request seen before gives the jobs that it made then, for nothing,
        and so do the same jobs when they are there already: the answer to an earlier try may have got lost.

        IdempotencyConflict when its key came with another request, RequestGone when nothing is left of what it made,
        OverRate when its owner can't pay the charges.
        """
        now = self._database.now()
        rows = [new_row(job, now) for job in new]
        ids = [job.id for job in new]
        try:
            with self._database.writing() as db:
                if once is not None:
                    earlier = remember(db, once, new[0].owner, ids, now)
                    if earlier is not None:
                        return left_of(db, once, earlier, now)
                use(db, new[0].owner, charges, now)
                db.execute(jobs.insert(), rows)
        except sa.exc.IntegrityError:
            with self._database.reading() as db:
                there = select_jobs(db, jobs.c.id.in_(ids))
            if len(there) < len(ids):
                raise
            return there
        return [new_job(row) for row in rows]

    def repeated(self, owner: str, once: Idempotency) -> list[Job] | None:
        """What is left of the jobs that an earlier request with this key made; None when there was none.

        IdempotencyConflict and RequestGone as `create`.
        """
        with self._database.reading() as db:
            earlier = remembered(db, once, owner)
            return None if earlier is None else left_of(db, once, earlier, self._database.now())

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job that isn't deleted and, when asked, belongs to ``owner``."""
        values = {"job_id": job_id} | ({} if owner is None else {"owner": owner})
        with self._database.reading() as db:
            row = db.execute(visible_query(of_owner=owner is not None), values).one_or_none()
        return None if row is None else job_of(row)

    def page(self, owner: str, *, after: str | None = None, limit: int = 20, newest_first: bool = True) -> Page:
        """An owner's videos in order of creation; ``after`` is the last id of the page before, deleted since or not."""
        where = [jobs.c.owner == owner, jobs.c.deleted_at.is_(None), of_kind(Kind.VIDEO)]
        if after is not None:
            where.append(jobs.c.id < after if newest_first else jobs.c.id > after)
        order = jobs.c.id.desc() if newest_first else jobs.c.id.asc()
        with self._database.reading() as db:
            rows = db.execute(sa.select(jobs).where(*where).order_by(order).limit(limit + 1)).all()
        return Page([job_of(row) for row in rows[:limit]], has_more=len(rows) > limit)

    def cancel(self, job_id: str, owner: str | None = None) -> Job | None:
        """Stop a job: at once when nobody has it, at the next step when a worker does; not one that is finished."""
        with self._database.writing() as db:
            db.execute(
                jobs.update()
                .where(visible(job_id, owner), free())
                .values(**failure(CANCELLED, "cancelled", self._database.now()))
            )
            db.execute(
                jobs.update()
                .where(visible(job_id, owner), jobs.c.status == Status.IN_PROGRESS)
                .values(cancel_requested=True)
            )
            found = select_jobs(db, visible(job_id, owner))
        return found[0] if found else None

    def delete(self, job_id: str, owner: str | None = None) -> Job | None:
        """Hide a job for good; one in progress is dropped by its worker. Its files and its row go by `purge`."""
        now = self._database.now()
        with self._database.writing() as db:
            found = select_jobs(db, visible(job_id, owner))
            db.execute(jobs.update().where(visible(job_id, owner)).values(deleted_at=now))
            db.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.deleted_at == now, free())
                .values(**failure(CANCELLED, "deleted", now))
            )
        return found[0] if found else None

    def deleted(self, limit: int = 100, *, failed_for_s: float = math.inf) -> list[Job]:
        """Deleted and expired jobs that nobody works on, whose files can go; failed ones expire after a time."""
        now = self._database.now()
        expired = jobs.c.expires_at < now
        if failed_for_s < math.inf:
            expired |= (jobs.c.status == Status.FAILED) & (jobs.c.completed_at < now - failed_for_s)
        closed = jobs.c.status.not_in(OPEN)
        query = sa.select(jobs).where(closed, sa.or_(jobs.c.deleted_at.is_not(None), expired)).limit(limit)
        with self._database.reading() as db:
            return [job_of(row) for row in db.execute(query)]

    def rows(self, job_ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that the ledger still has, deleted ones too."""
        with self._database.reading() as db:
            return select_jobs(db, jobs.c.id.in_(job_ids))

    def purge(self, job_id: str) -> None:
        """Forget a job whose files are gone; what it used stays known."""
        untold = (jobs.c.id == job_id) & ~jobs.c.announced & jobs.c.status.not_in(OPEN)
        with self._database.writing() as db:
            note_usage(db, select_jobs(db, untold), self._database.now())
            db.execute(jobs.delete().where(jobs.c.id == job_id, jobs.c.status.not_in(OPEN)))

    def littered(self, limit: int = 100) -> list[Job]:
        """Closed jobs of which clips, latents and windows can go."""
        left = jobs.c.saved.is_not(None) | jobs.c.made.is_not(None)
        query = sa.select(jobs).where(jobs.c.status.not_in(OPEN), left).limit(limit)
        with self._database.reading() as db:
            return [job_of(row) for row in db.execute(query)]

    def tidied(self, job_id: str) -> None:
        """Note that what was stored for the work on a closed job is gone."""
        closed = (jobs.c.id == job_id) & jobs.c.status.not_in(OPEN)
        with self._database.writing() as db:
            db.execute(jobs.update().where(closed).values(saved=None, made=sa.null()))

    def forget_requests(self, older_than_s: float) -> None:
        """Forget idempotency keys after so long; the same key makes a new job then."""
        with self._database.writing() as db:
            db.execute(requests.delete().where(requests.c.created_at < self._database.now() - older_than_s))
