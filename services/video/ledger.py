"""The ledger: every accepted job, who works on it, and how it ended.

Work is at least once, its result exactly once. A worker *claims* a queued job and holds it by a lease that it renews;
a lease that runs out goes back to the queue. Every write of a worker names its lease (worker and attempt), so one that
lost its job can neither finish nor fail it. ``clock`` gives Unix seconds; hosts that share a ledger need clocks that
agree to well within a lease.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import sqlalchemy as sa

from services.video.job import CANCELLED, OPEN, Backlog, Idempotency, Job, Kind, Lease, NewJob, Page, Renewal, Status
from services.video.rows import failure, job_of, new_row, of_kind, remember, select_jobs, visible
from services.video.tables import available, jobs, models, open_database, requests, transaction, workers

_WORKER_SILENT_S = 60.0  # then its rate no longer counts
_MODEL_SILENT_S = 600.0  # then its model is no longer offered


class Ledger:
    """The protocol; each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] = time.time) -> Self:
        """The ledger at a database URL, its tables created or brought up to date."""
        return cls(open_database(url), clock)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with available(self._engine), transaction(self._engine, writes=False) as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with available(self._engine), transaction(self._engine, writes=True) as db:
            yield db

    # --- the API's side

    def create(self, new: Sequence[NewJob], once: Idempotency | None = None) -> list[Job]:
        """Accept all jobs of a request, or none; a request seen before gives the jobs that it made then.

        IdempotencyConflict when its key came with another request.
        """
        now = self._clock()
        rows = [new_row(job, now) for job in new]
        with self._writing() as db:
            if once is not None:
                earlier = remember(db, once, new[0].owner, [row["id"] for row in rows], now)
                if earlier is not None:
                    return select_jobs(db, jobs.c.id.in_(earlier))
            db.execute(jobs.insert(), rows)
            return select_jobs(db, jobs.c.id.in_([row["id"] for row in rows]))

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job that isn't deleted and, when asked, belongs to ``owner``."""
        with self._reading() as db:
            found = select_jobs(db, visible(job_id, owner))
        return found[0] if found else None

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
        """Stop a job: at once when it waits, at the next step when a worker has it; a finished one stays as it is."""
        with self._writing() as db:
            db.execute(
                jobs.update()
                .where(visible(job_id, owner), jobs.c.status == Status.QUEUED)
                .values(**failure(CANCELLED, "cancelled before it started", self._clock()))
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
                .where(jobs.c.id == job_id, jobs.c.deleted_at == now, jobs.c.status == Status.QUEUED)
                .values(**failure(CANCELLED, "deleted before it started", now))
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

    def counts(self) -> dict[Status, int]:
        """How many jobs there are of every status."""
        query = sa.select(jobs.c.status, sa.func.count()).where(jobs.c.deleted_at.is_(None)).group_by(jobs.c.status)
        with self._reading() as db:
            found = {Status(status): number for status, number in db.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    def backlog(self, owner: str | None = None) -> Backlog:
        """The work ahead and what the workers seen lately manage; ``waiting`` counts one owner's jobs when asked."""
        waiting = sa.select(sa.func.count()).where(jobs.c.status == Status.QUEUED)
        if owner is not None:
            waiting = waiting.where(jobs.c.owner == owner)
        left = jobs.c.tokens * jobs.c.num_steps * (100 - jobs.c.progress) / 100.0
        work = sa.select(sa.func.sum(left)).where(jobs.c.status.in_(OPEN))
        live = workers.c.seen_at > self._clock() - _WORKER_SILENT_S
        rates = sa.select(sa.func.sum(workers.c.token_steps_per_s), sa.func.count()).where(live)
        with self._reading() as db:
            rate, live_workers = db.execute(rates).one()
            return Backlog(
                waiting=int(db.execute(waiting).scalar_one()),
                token_steps=float(db.execute(work).scalar() or 0.0),
                token_steps_per_s=float(rate or 0.0),
                live_workers=live_workers,
            )

    # --- the workers' side

    def waiting(self, model: str | None = None, limit_per_owner: int = 32) -> list[Job]:
        """The front of every owner's queue (of one model), so that one is seen behind another's thousand jobs."""
        place = sa.func.row_number().over(partition_by=jobs.c.owner, order_by=(jobs.c.queued_as, jobs.c.id))
        wanted = (jobs.c.status == Status.QUEUED) & (jobs.c.model == model if model is not None else sa.true())
        queued = sa.select(jobs, place.label("place")).where(wanted).subquery()
        query = sa.select(queued).where(queued.c.place <= limit_per_owner).order_by(queued.c.queued_as, queued.c.id)
        with self._reading() as db:
            return [job_of(row) for row in db.execute(query)]

    def claim(self, job_ids: Sequence[str], worker: str, lease_s: float) -> list[Job]:
        """Take those of the jobs that are still queued, in the order given; no two workers get the same one."""
        if not job_ids:
            return []
        free = sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.status == Status.QUEUED)
        now = self._clock()
        with self._writing() as db:
            won = list(db.execute(free.with_for_update(skip_locked=True)).scalars())
            db.execute(
                jobs.update()
                .where(jobs.c.id.in_(won))
                .values(
                    status=Status.IN_PROGRESS,
                    lease_owner=worker,
                    lease_expires_at=now + lease_s,
                    attempts=jobs.c.attempts + 1,
                    started_at=sa.func.coalesce(jobs.c.started_at, now),
                )
            )
            taken = {job.id: job for job in select_jobs(db, jobs.c.id.in_(won))}
        return [taken[job_id] for job_id in job_ids if job_id in taken]

    def renew(self, progress: Mapping[Lease, int], lease_s: float) -> Renewal:
        """Prolong leases and write the jobs' progress (percent); says which of them shall be dropped."""
        if not progress:
            return Renewal(frozenset(), frozenset())
        expires = self._clock() + lease_s
        ids = [lease.job_id for lease in progress]
        with self._writing() as db:
            held = select_jobs(db, jobs.c.id.in_(ids), jobs.c.status == Status.IN_PROGRESS, lock=True)
            leases = {job.lease: job for job in held if job.deleted_at is None}
            kept = [lease for lease in progress if lease in leases]
            if kept:
                db.execute(
                    jobs.update()
                    .where(jobs.c.id == sa.bindparam("job_id"))
                    .values(progress=sa.bindparam("percent"), lease_expires_at=expires),
                    [{"job_id": lease.job_id, "percent": progress[lease]} for lease in kept],
                )
        cancelled = frozenset(lease for lease in kept if leases[lease].cancel_requested)
        return Renewal(cancelled, frozenset(progress) - frozenset(kept))

    def finish(self, lease: Lease, result: Mapping[str, Any], *, expires_at: float | None = None) -> bool:
        """Complete a job; False when the lease is gone, and then the caller's result counts for nothing.

        A cancellation that comes later than the last step comes too late. A job that was to expire anyway still does.
        """
        return self._end(
            lease,
            status=Status.COMPLETED,
            progress=100,
            result=dict(result),
            completed_at=self._clock(),
            expires_at=sa.func.coalesce(jobs.c.expires_at, expires_at),
        )

    def fail(self, lease: Lease, code: str, message: str) -> bool:
        """End a job with its reason; False when the lease is gone."""
        return self._end(lease, **failure(code, message, self._clock()))

    def release(self, lease: Lease) -> bool:
        """Give a job back to the queue untouched: the attempt doesn't count. False when the lease is gone."""
        return self._end(lease, status=Status.QUEUED, progress=0, attempts=jobs.c.attempts - 1)

    def _end(self, lease: Lease, **values: Any) -> bool:
        with self._writing() as db:
            done = db.execute(
                jobs.update()
                .where(
                    jobs.c.id == lease.job_id,
                    jobs.c.lease_owner == lease.worker,
                    jobs.c.attempts == lease.attempt,
                    jobs.c.status == Status.IN_PROGRESS,
                )
                .values(lease_owner=None, lease_expires_at=None, **values)
            )
        return done.rowcount == 1

    def reclaim(self, max_attempts: int) -> int:
        """Queue again the jobs whose lease ran out; fail those tried often enough, or no longer wanted. How many."""
        now = self._clock()
        stale = (jobs.c.status == Status.IN_PROGRESS) & (jobs.c.lease_expires_at < now)
        free = {"lease_owner": None, "lease_expires_at": None}
        unwanted = jobs.c.cancel_requested | jobs.c.deleted_at.is_not(None)
        lost = f"its worker died or stalled {max_attempts} times"
        with self._writing() as db:
            updates = (
                jobs.update().where(stale, unwanted).values(**free, **failure(CANCELLED, "cancelled", now)),
                jobs.update()
                .where(stale, jobs.c.attempts >= max_attempts)
                .values(**free, **failure("worker_lost", lost, now)),
                jobs.update().where(stale).values(**free, status=Status.QUEUED, progress=0),
            )
            return sum(db.execute(update).rowcount for update in updates)

    def forget_requests(self, older_than_s: float) -> None:
        """Forget idempotency keys after so long; the same key makes a new job then."""
        with self._writing() as db:
            db.execute(requests.delete().where(requests.c.created_at < self._clock() - older_than_s))

    # --- what the samplers say about themselves

    def publish_model(self, name: str, card: Mapping[str, Any]) -> None:
        """Tell the API what the served model is and can do; a later sampler's word replaces it."""
        values = {"card": dict(card), "published_at": self._clock(), "seen_at": self._clock()}
        with self._writing() as db:
            if not db.execute(models.update().where(models.c.name == name).values(**values)).rowcount:
                db.execute(models.insert().values(name=name, **values))

    def model_cards(self) -> list[dict[str, Any]]:
        """The cards of the models whose samplers lately gave a sign of life, the last published first."""
        lately = models.c.seen_at > self._clock() - _MODEL_SILENT_S
        query = sa.select(models.c.card).where(lately).order_by(models.c.published_at.desc())
        with self._reading() as db:
            return list(db.execute(query).scalars())

    def beat(self, worker: str, model: str, token_steps_per_s: float) -> None:
        """A worker's sign of life and its measured rate; workers that are long silent are forgotten."""
        now = self._clock()
        values = {"model": model, "seen_at": now, "token_steps_per_s": token_steps_per_s}
        with self._writing() as db:
            if not db.execute(workers.update().where(workers.c.id == worker).values(**values)).rowcount:
                db.execute(workers.insert().values(id=worker, **values))
            db.execute(workers.delete().where(workers.c.seen_at < now - _MODEL_SILENT_S))
            db.execute(models.update().where(models.c.name == model).values(seen_at=now))
