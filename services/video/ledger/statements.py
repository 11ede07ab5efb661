"""The statements of every request and every step, each made once: to put a short one together takes longer than the
database takes to answer it."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from services.video.job import OPEN, SAMPLED_PERCENT, Lease, Stage, Status
from services.video.ledger.rows import free
from services.video.ledger.tables import jobs, models, workers

HELD = (
    (jobs.c.id == sa.bindparam("job_id"))
    & (jobs.c.lease_owner == sa.bindparam("worker"))
    & (jobs.c.attempts == sa.bindparam("attempt"))
    & (jobs.c.status == Status.IN_PROGRESS)
)
"""The job of a lease, as long as the lease is good; `held_by` gives the values."""
FINISH = (
    jobs.update()
    .where(HELD)
    .values(
        status=Status.COMPLETED,
        progress=100,
        result=sa.bindparam("ended"),
        completed_at=sa.bindparam("now"),
        expires_at=sa.func.coalesce(jobs.c.expires_at, sa.bindparam("expires", type_=sa.Float(53))),
        lease_owner=None,
        lease_expires_at=None,
    )
)


STILL_FREE = (
    sa.select(jobs.c.id)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)), free(), jobs.c.stage == sa.bindparam("stage"))
    .order_by(jobs.c.queued_as, jobs.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
CLAIM = (
    jobs.update()
    .where(jobs.c.id.in_(sa.bindparam("won", expanding=True)))
    .values(
        status=Status.IN_PROGRESS,
        lease_owner=sa.bindparam("worker"),
        lease_expires_at=sa.bindparam("until"),
        attempts=jobs.c.attempts + 1,
        started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("now")),
    )
    .returning(*jobs.c)
)
LEASED = (
    sa.select(jobs.c.id, jobs.c.lease_owner, jobs.c.attempts, jobs.c.cancel_requested)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)), jobs.c.lease_owner.is_not(None))
    .where(jobs.c.deleted_at.is_(None))
    .order_by(jobs.c.id)
    .with_for_update()
)
RENEW = (
    jobs.update()
    .where(jobs.c.id == sa.bindparam("job_id"))
    .values(progress=sa.bindparam("percent"), lease_expires_at=sa.bindparam("expires"))
)


def _crowd() -> sa.Select[Any]:
    unsampled = jobs.c.status.in_(OPEN) & (jobs.c.stage == Stage.SAMPLE) & (jobs.c.model == sa.bindparam("model"))
    live = (workers.c.seen_at > sa.bindparam("live_since")) & (workers.c.model == sa.bindparam("model"))
    samplers = sa.select(sa.func.count()).where(live, workers.c.stage == Stage.SAMPLE)
    busy = sa.exists().where(jobs.c.lease_owner == workers.c.id, jobs.c.status.in_(OPEN))
    tokens = sa.select(sa.func.sum(sa.cast(jobs.c.tokens, sa.Float(53)))).where(unsampled)
    return sa.select(
        tokens.scalar_subquery().label("tokens"),
        samplers.scalar_subquery().label("samplers"),
        samplers.where(~busy).scalar_subquery().label("idle"),
    )


CROWD = _crowd()


def held_by(lease: Lease) -> dict[str, Any]:
    return {"job_id": lease.job_id, "worker": lease.worker, "attempt": lease.attempt}


@cache
def visible_query(*, of_owner: bool) -> sa.Select[Any]:
    """A job by id that isn't deleted, of one owner when asked."""
    mine = jobs.c.owner == sa.bindparam("owner") if of_owner else sa.true()
    return sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"), jobs.c.deleted_at.is_(None), mine)


@cache
def waiting_query(*, of_model: bool) -> sa.Select[Any]:
    """The first jobs of every owner that wait at a stage, those of one model when asked."""
    place = sa.func.row_number().over(partition_by=jobs.c.owner, order_by=(jobs.c.queued_as, jobs.c.id))
    mine = jobs.c.model == sa.bindparam("model") if of_model else sa.true()
    wanted = free() & (jobs.c.stage == sa.bindparam("stage")) & mine
    queued = sa.select(jobs, place.label("place")).where(wanted).subquery()
    first = queued.c.place <= sa.bindparam("most")
    return sa.select(queued).where(first).order_by(queued.c.queued_as, queued.c.id)


@cache
def backlog_query(*, of_owner: bool, of_model: bool) -> sa.Select[Any]:
    """The work ahead, the rates of the workers, and the waiting jobs of one owner; of one model, when asked."""
    able = _rates(of_model=of_model).subquery()
    ahead = _work_ahead(of_owner=of_owner, of_model=of_model).subquery()
    query = sa.select(ahead, able).select_from(ahead.join(able, sa.true()))
    name = models.c.name == sa.bindparam("model") if of_model else sa.true()
    for column in (models.c.token_steps_per_s, models.c.decoded_per_s, models.c.wait_factor):
        lately = sa.select(column).where(name).order_by(models.c.seen_at.desc()).limit(1)
        query = query.add_columns(lately.scalar_subquery().label(f"model_{column.name}"))
    return query


def _work_ahead(*, of_owner: bool, of_model: bool) -> sa.Select[Any]:
    """Sums in floats: a product of two integers overflows PostgreSQL's."""
    queued = jobs.c.status == Status.QUEUED
    mine = queued & (jobs.c.owner == sa.bindparam("owner")) if of_owner else queued
    sampling = jobs.c.stage == Stage.SAMPLE
    tokens = sa.cast(jobs.c.tokens, sa.Float(53))
    done = sa.case((jobs.c.progress > SAMPLED_PERCENT, SAMPLED_PERCENT), else_=jobs.c.progress)
    left = sa.case((sampling, tokens * jobs.c.num_steps * (1 - done / float(SAMPLED_PERCENT))), else_=0.0)
    undrawn = sa.case((jobs.c.progress > SAMPLED_PERCENT, _drawn_share()), else_=1.0)
    counted = {"waiting": mine, "unsampled": sampling, "undecoded": ~sampling}
    counts = [sa.func.sum(sa.case((which, 1), else_=0)).label(name) for name, which in counted.items()]
    ours = jobs.c.model == sa.bindparam("model") if of_model else sa.true()
    sums = [sa.func.sum(left).label("token_steps"), sa.func.sum(tokens * undrawn).label("tokens")]
    return sa.select(*counts, *sums).where(jobs.c.status.in_(OPEN), ours)


def _drawn_share() -> sa.ColumnElement[Any]:
    """Of a job's frames those that are still to be decoded, by its progress."""
    return (100 - jobs.c.progress) / float(100 - SAMPLED_PERCENT)


def _rates(*, of_model: bool) -> sa.Select[Any]:
    ours = workers.c.model == sa.bindparam("model") if of_model else sa.true()
    live = (workers.c.seen_at > sa.bindparam("live_since")) & ours
    samples = sa.case((workers.c.stage == Stage.SAMPLE, 1), else_=0)
    return sa.select(
        sa.func.sum(workers.c.token_steps_per_s).label("token_steps_per_s"),
        sa.func.sum(workers.c.decoded_per_s).label("decoded_per_s"),
        sa.func.sum(samples).label("live_workers"),
    ).where(live)
