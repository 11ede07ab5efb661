"""The ledger: every accepted job, who works on it, and how it ended.

Work is at least once, its result exactly once. A worker *claims* a queued job and holds it by a lease that it renews;
a lease that runs out goes back to the queue. Every write of a worker names its lease (worker and attempt), so one that
lost its job can neither finish nor fail it. ``clock`` gives Unix seconds; hosts that share a ledger need clocks that
agree to well within a lease.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services.video.job import (
    CANCELLED,
    OPEN,
    OVERDUE,
    SAMPLED_PERCENT,
    Idempotency,
    Job,
    Kind,
    Lease,
    NewJob,
    Page,
    Renewal,
    Stage,
    Status,
)
from services.video.ledger.cast import Cast
from services.video.ledger.rates import Charge
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
    CLAIM,
    FINISH,
    HELD,
    LEASED,
    RENEW,
    STILL_FREE,
    held_by,
    visible_query,
    waiting_query,
)
from services.video.ledger.tables import jobs, requests


class Ledger(Cast):
    """The protocol; each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    # --- the API's side

    def create(
        self, new: Sequence[NewJob], once: Idempotency | None = None, charges: Sequence[Charge] = ()
    ) -> list[Job]:
        """Accept all jobs of a request, or none; a request seen before gives the jobs that it made then, for nothing,
        and so do the same jobs when they are there already: the answer to an earlier try may have got lost.

        IdempotencyConflict when its key came with another request, RequestGone when nothing is left of what it made,
        OverRate when its owner can't pay the charges.
        """
        now = self._clock()
        rows = [new_row(job, now) for job in new]
        ids = [job.id for job in new]
        try:
            with self._writing() as db:
                if once is not None:
                    earlier = remember(db, once, new[0].owner, ids, now)
                    if earlier is not None:
                        return left_of(db, once, earlier, now)
                use(db, new[0].owner, charges, now)
                db.execute(jobs.insert(), rows)
        except sa.exc.IntegrityError:
            with self._reading() as db:
                there = select_jobs(db, jobs.c.id.in_(ids))
            if len(there) < len(ids):
                raise
            return there
        return [new_job(row) for row in rows]

    def repeated(self, owner: str, once: Idempotency) -> list[Job] | None:
        """What is left of the jobs that an earlier request with this key made; None when there was none.

        IdempotencyConflict and RequestGone as `create`.
        """
        with self._reading() as db:
            earlier = remembered(db, once, owner)
            return None if earlier is None else left_of(db, once, earlier, self._clock())

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job that isn't deleted and, when asked, belongs to ``owner``."""
        values = {"job_id": job_id} | ({} if owner is None else {"owner": owner})
        with self._reading() as db:
            row = db.execute(visible_query(of_owner=owner is not None), values).one_or_none()
        return None if row is None else job_of(row)

    def page(self, owner: str, *, after: str | None = None, limit: int = 20, newest_first: bool = True) -> Page:
        """An owner's videos in order of creation; ``after`` is the last id of the page before, deleted since or not."""
        where = [jobs.c.owner == owner, jobs.c.deleted_at.is_(None), of_kind(Kind.VIDEO)]
        if after is not None:
            where.append(jobs.c.id < after if newest_first else jobs.c.id > after)
        order = jobs.c.id.desc() if newest_first else jobs.c.id.asc()
        with self._reading() as db:
            rows = db.execute(sa.select(jobs).where(*where).order_by(order).limit(limit + 1)).all()
        return Page([job_of(row) for row in rows[:limit]], has_more=len(rows) > limit)

    def cancel(self, job_id: str, owner: str | None = None) -> Job | None:
        """Stop a job: at once when nobody has it, at the next step when a worker does; not one that is finished."""
        with self._writing() as db:
            db.execute(
                jobs.update()
                .where(visible(job_id, owner), free())
                .values(**failure(CANCELLED, "cancelled", self._clock()))
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
        now = self._clock()
        with self._writing() as db:
            found = select_jobs(db, visible(job_id, owner))
            db.execute(jobs.update().where(visible(job_id, owner)).values(deleted_at=now))
            db.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.deleted_at == now, free())
                .values(**failure(CANCELLED, "deleted", now))
            )
        return found[0] if found else None

    def deleted(self, limit: int = 100) -> list[Job]:
        """Deleted and expired jobs that nobody works on, whose files can go."""
        expired = jobs.c.expires_at < self._clock()
        closed = jobs.c.status.not_in(OPEN)
        query = sa.select(jobs).where(closed, sa.or_(jobs.c.deleted_at.is_not(None), expired)).limit(limit)
        with self._reading() as db:
            return [job_of(row) for row in db.execute(query)]

    def purge(self, job_id: str) -> None:
        """Forget a job whose files are gone."""
        with self._writing() as db:
            db.execute(jobs.delete().where(jobs.c.id == job_id, jobs.c.status.not_in(OPEN)))

    def littered(self, limit: int = 100) -> list[Job]:
        """Closed jobs of which clips, latents and windows can go."""
        left = jobs.c.saved.is_not(None) | jobs.c.made.is_not(None)
        query = sa.select(jobs).where(jobs.c.status.not_in(OPEN), left).limit(limit)
        with self._reading() as db:
            return [job_of(row) for row in db.execute(query)]

    def tidied(self, job_id: str) -> None:
        """Note that what was stored for the work on a closed job is gone."""
        closed = (jobs.c.id == job_id) & jobs.c.status.not_in(OPEN)
        with self._writing() as db:
            db.execute(jobs.update().where(closed).values(saved=None, made=sa.null()))

    # --- the workers' side

    def waiting(self, model: str | None = None, *, stage: Stage = Stage.SAMPLE, limit_per_owner: int = 32) -> list[Job]:
        """The front of every owner's queue (of one model), so that one is seen behind another's thousand jobs."""
        values = {"stage": stage, "most": limit_per_owner} | ({} if model is None else {"model": model})
        with self._reading() as db:
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
        now = self._clock()
        with self._writing() as db:
            limit = len(job_ids) if most is None else most
            won = list(db.execute(STILL_FREE, {"ids": list(job_ids), "stage": stage, "most": limit}).scalars())
            values = {"won": won, "worker": worker, "until": now + lease_s, "now": now}
            taken = {job.id: job for job in map(job_of, db.execute(CLAIM, values))} if won else {}
        return [taken[job_id] for job_id in job_ids if job_id in taken]

    def renew(self, progress: Mapping[Lease, int], lease_s: float) -> Renewal:
        """Prolong leases and write the jobs' progress (percent); says which of them shall be dropped."""
        if not progress:
            return Renewal(frozenset(), frozenset())
        expires = self._clock() + lease_s
        ids = [lease.job_id for lease in progress]
        with self._writing() as db:
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
        values = {"ended": dict(result), "now": self._clock(), "expires": expires_at}
        with self._writing() as db:
            done = db.execute(FINISH, held_by(lease) | values)
        return done.rowcount == 1

    def fail(self, lease: Lease, code: str, message: str) -> bool:
        """End a job with its reason; False when the lease is gone."""
        return self._end(lease, **failure(code, message, self._clock()))

    def save(self, lease: Lease, saved: str) -> bool:
        """Note where a job's latents are stored, for whoever goes on with it; False when the lease is gone."""
        with self._writing() as db:
            done = db.execute(jobs.update().where(HELD).values(saved=saved, losses=0), held_by(lease))
        return done.rowcount == 1

    def hand_over(self, lease: Lease, saved: str, progress: int = SAMPLED_PERCENT) -> bool:
        """Leave a sampled job to the decoders; False when the lease is gone or the job shall be cancelled."""
        return self._end(lease, _wanted(), stage=Stage.DECODE, saved=saved, losses=0, progress=progress)

    def advance(self, lease: Lease, made: Sequence[str]) -> bool:
        """Leave a job to the samplers for its next window, these being made; False as `hand_over`."""
        return self._end(lease, _wanted(), stage=Stage.SAMPLE, saved=None, made=list(made), losses=0)

    def release(self, lease: Lease) -> bool:
        """Give a job back to the queue of its stage, which is no loss; False when the lease is gone."""
        return self._end(lease, **_requeued())

    def _end(self, lease: Lease, condition: sa.ColumnElement[bool] | None = None, **values: Any) -> bool:
        wanted = sa.true() if condition is None else condition
        with self._writing() as db:
            update = jobs.update().where(HELD, wanted).values(lease_owner=None, lease_expires_at=None, **values)
            done = db.execute(update, held_by(lease))
        return done.rowcount == 1

    def reclaim(self, max_losses: int) -> int:
        """Let others have the jobs whose lease ran out; fail those lost too often without getting on, those no longer
        wanted, and waiting ones beyond their deadline. How many."""
        now = self._clock()
        stale = (jobs.c.status == Status.IN_PROGRESS) & (jobs.c.lease_expires_at < now)
        gone = {"lease_owner": None, "lease_expires_at": None}
        unwanted = jobs.c.cancel_requested | jobs.c.deleted_at.is_not(None)
        lost = failure("worker_lost", f"its worker died or stalled {max_losses} times", now)
        overdue = failure(OVERDUE, "not done at its deadline", now)
        losses = jobs.c.losses + 1
        with self._writing() as db:
            updates = (
                jobs.update().where(stale, unwanted).values(**gone, **failure(CANCELLED, "cancelled", now)),
                jobs.update().where(stale, losses >= max_losses).values(**gone, **lost, losses=losses),
                jobs.update().where(stale).values(**gone, **_requeued(), losses=losses),
                jobs.update().where(free(), jobs.c.deadline_at < now).values(**overdue),
            )
            return sum(db.execute(update).rowcount for update in updates)

    def forget_requests(self, older_than_s: float) -> None:
        """Forget idempotency keys after so long; the same key makes a new job then."""
        with self._writing() as db:
            db.execute(requests.delete().where(requests.c.created_at < self._clock() - older_than_s))


def _wanted() -> sa.ColumnElement[bool]:
    return jobs.c.cancel_requested.is_(False) & jobs.c.deleted_at.is_(None)


def _requeued() -> dict[str, Any]:
    """A job in nobody's hands: queued when it has to be sampled, and no farther than what was saved of it."""
    waiting = sa.case((jobs.c.stage == Stage.SAMPLE, Status.QUEUED), else_=Status.IN_PROGRESS)
    nothing = jobs.c.saved.is_(None) & jobs.c.made.is_(None)
    return {"status": waiting, "progress": sa.case((nothing, 0), else_=jobs.c.progress)}
