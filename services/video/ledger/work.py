"""The workers' side of the ledger: claims, leases, and how jobs leave a worker's hands.

Every write can be repeated: its answer may have got lost on the way, so "my attempt's result is there" is success.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services.video.job import CANCELLED, OVERDUE, SAMPLED_PERCENT, UNSERVED, Job, Lease, Renewal, Stage, Status
from services.video.ledger.database import Database
from services.video.ledger.rows import failure, free, job_of, select_jobs
from services.video.ledger.statements import (
    CLAIM,
    FINISH,
    HELD,
    LEASED,
    RENEW,
    STILL_FREE,
    held_by,
    waiting_query,
)
from services.video.ledger.tables import jobs, models


class Work:
    """Each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, model: str | None = None, *, stage: Stage = Stage.SAMPLE, limit_per_owner: int = 32) -> list[Job]:
        """The front of every owner's queue (of one model), so that one is seen behind another's thousand jobs."""
        values = {"stage": stage, "most": limit_per_owner} | ({} if model is None else {"model": model})
        with self._database.reading() as db:
            return [job_of(row) for row in db.execute(waiting_query(of_model=model is not None), values)]

    def claim(
        self,
        job_ids: Sequence[str],
        worker: str,
        lease_s: float,
        *,
        stage: Stage = Stage.SAMPLE,
        most: int | None = None,
    ) -> list[Job]:
        """Take those of the jobs that still wait at a stage, at most so many, in the order given.

        No two workers get the same, and no sampler one that another has sampled since it was seen waiting.
        """
        if not job_ids:
            return []
        now = self._database.now()
        with self._database.writing() as db:
            limit = len(job_ids) if most is None else most
            won = list(db.execute(STILL_FREE, {"ids": list(job_ids), "stage": stage, "most": limit}).scalars())
            values = {"won": won, "worker": worker, "until": now + lease_s, "now": now}
            taken = {job.id: job for job in map(job_of, db.execute(CLAIM, values))} if won else {}
        return [taken[job_id] for job_id in job_ids if job_id in taken]

    def claimed_by(self, worker: str) -> list[Job]:
        """The jobs that a worker holds, also those of a claim whose answer got lost."""
        held = jobs.c.status == Status.IN_PROGRESS
        with self._database.reading() as db:
            return select_jobs(db, held, jobs.c.lease_owner == worker, jobs.c.deleted_at.is_(None))

    def renew(self, progress: Mapping[Lease, int], lease_s: float) -> Renewal:
        """Prolong leases and write the jobs' progress (percent); says which of them shall be dropped."""
        if not progress:
            return Renewal(frozenset(), frozenset())
        expires = self._database.now() + lease_s
        ids = [lease.job_id for lease in progress]
        with self._database.writing() as db:
            held = db.execute(LEASED, {"ids": ids})
            leases = {Lease(row.id, row.lease_owner, row.attempts): row.cancel_requested for row in held}
            kept = [lease for lease in progress if lease in leases]
            if kept:
                marks = [{"job_id": lease.job_id, "percent": progress[lease], "expires": expires} for lease in kept]
                db.execute(RENEW, marks)
        cancelled = frozenset(lease for lease in kept if leases[lease])
        return Renewal(cancelled, frozenset(progress) - frozenset(kept))

    def finish(self, lease: Lease, result: Mapping[str, Any], *, expires_at: float | None = None) -> bool:
        """Complete a job; False when the lease is gone, and then the caller's result counts for nothing.

        A cancellation that comes later than the last step comes too late. A job that was to expire anyway still does.
        """
        ended = dict(result)
        values = {"ended": ended, "now": self._database.now(), "expires": expires_at}
        with self._database.writing() as db:
            if db.execute(FINISH, held_by(lease) | values).rowcount == 1:
                return True
            return _is(db, lease, lambda job: job.status is Status.COMPLETED and job.result == ended)

    def fail(self, lease: Lease, code: str, message: str) -> bool:
        """End a job with its reason; False when the lease is gone."""

        def failed(job: Job) -> bool:
            return job.status is Status.FAILED and (job.attempts, job.error_code) == (lease.attempt, code)

        return self._end(lease, failed, **failure(code, message, self._database.now()))

    def save(self, lease: Lease, saved: str) -> bool:
        """Note where a job's latents are stored, for whoever goes on with it; False when the lease is gone."""
        with self._database.writing() as db:
            done = db.execute(jobs.update().where(HELD).values(saved=saved, losses=0), held_by(lease))
        return done.rowcount == 1

    def hand_over(self, lease: Lease, saved: str, progress: int = SAMPLED_PERCENT) -> bool:
        """Leave a sampled job to the decoders; False when the lease is gone or the job shall be cancelled."""
        values: dict[str, Any] = {"stage": Stage.DECODE, "saved": saved, "losses": 0, "progress": progress}
        return self._end(lease, lambda job: job.stage is Stage.DECODE and job.saved == saved, where=_wanted(), **values)

    def advance(self, lease: Lease, made: Sequence[str]) -> bool:
        """Leave a job to the samplers for its next window, these being made; False as `hand_over`."""
        values: dict[str, Any] = {"stage": Stage.SAMPLE, "saved": None, "made": list(made), "losses": 0}
        return self._end(lease, lambda job: (job.made or [])[: len(made)] == list(made), where=_wanted(), **values)

    def release(self, lease: Lease, *, blamed: bool = False) -> bool:
        """Give a job back to the queue of its stage; False when the lease is gone. It is no loss, unless the job is
        ``blamed``: what went wrong may be its own doing, and then it runs alone next."""
        values = _requeued() | ({"losses": jobs.c.losses + 1} if blamed else {})
        return self._end(lease, **values)

    def sample_again(self, lease: Lease) -> bool:
        """Give a job whose latents are lost back to the samplers; False when the lease is gone."""
        nothing = jobs.c.made.is_(None)
        values: dict[str, Any] = {"stage": Stage.SAMPLE, "saved": None, "losses": jobs.c.losses + 1}
        values |= {"status": sa.case((nothing, Status.QUEUED), else_=Status.IN_PROGRESS)}
        return self._end(lease, **values, progress=sa.case((nothing, 0), else_=jobs.c.progress))

    def _end(
        self,
        lease: Lease,
        so_already: Callable[[Job], bool] = lambda _job: False,
        *,
        where: sa.ColumnElement[bool] | None = None,
        **values: Any,
    ) -> bool:
        """Let go of a lease with these values; True also when an earlier try did, as ``so_already`` tells."""
        wanted = sa.true() if where is None else where
        with self._database.writing() as db:
            update = jobs.update().where(HELD, wanted).values(lease_owner=None, lease_expires_at=None, **values)
            return db.execute(update, held_by(lease)).rowcount == 1 or _is(db, lease, so_already)

    def reclaim(self, max_losses: int, unserved_s: float | None = None) -> int:
        """Let others have the jobs whose lease ran out; fail those lost too often without getting on, those no longer
        wanted, and waiting ones beyond their deadline or whose model nobody has served for ``unserved_s``. How many."""
        now = self._database.now()
        stale = (jobs.c.status == Status.IN_PROGRESS) & (jobs.c.lease_expires_at < now)
        gone = {"lease_owner": None, "lease_expires_at": None}
        unwanted = jobs.c.cancel_requested | jobs.c.deleted_at.is_not(None)
        lost = failure("worker_lost", f"its worker died or stalled {max_losses} times", now)
        overdue = failure(OVERDUE, "not done at its deadline", now)
        losses = jobs.c.losses + 1
        with self._database.writing() as db:
            updates = (
                jobs.update().where(stale, unwanted).values(**gone, **failure(CANCELLED, "cancelled", now)),
                jobs.update().where(stale, losses >= max_losses).values(**gone, **lost, losses=losses),
                jobs.update().where(stale).values(**gone, **_requeued(), losses=losses),
                jobs.update().where(free(), jobs.c.deadline_at < now).values(**overdue),
                *([] if unserved_s is None else [_end_unserved(now, unserved_s)]),
            )
            return sum(db.execute(update).rowcount for update in updates)


def _is(db: sa.Connection, lease: Lease, so: Callable[[Job], bool]) -> bool:
    return any(so(job) for job in select_jobs(db, jobs.c.id == lease.job_id))


def _end_unserved(now: float, unserved_s: float) -> sa.Update:
    lately = sa.select(models.c.name).where(models.c.seen_at > now - unserved_s)
    ended = failure(UNSERVED, f"its model has not been served for {unserved_s:g} s: ask for another", now)
    old = jobs.c.created_at < now - unserved_s
    return jobs.update().where(free(), old, jobs.c.model.not_in(lately)).values(**ended)


def _wanted() -> sa.ColumnElement[bool]:
    return jobs.c.cancel_requested.is_(False) & jobs.c.deleted_at.is_(None)


def _requeued() -> dict[str, Any]:
    """A job in nobody's hands: queued when it has to be sampled, and no farther than what was saved of it."""
    waiting = sa.case((jobs.c.stage == Stage.SAMPLE, Status.QUEUED), else_=Status.IN_PROGRESS)
    nothing = jobs.c.saved.is_(None) & jobs.c.made.is_(None)
    return {"status": waiting, "progress": sa.case((nothing, 0), else_=jobs.c.progress)}
