"""The ledger in numbers: who works on which models, how fast, and how much there is to do."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import sqlalchemy as sa

from services.video.job import OPEN, Backlog, Stage, Status
from services.video.ledger.statements import backlog_query
from services.video.ledger.tables import available, jobs, models, open_database, transaction, workers

_WORKER_SILENT_S = 60.0  # then its rate no longer counts
_MODEL_SILENT_S = 600.0  # then its model is no longer offered


class Roster:
    """Each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] = time.time) -> Self:
        """The ledger at a database URL, its tables created or brought up to date."""
        return cls(open_database(url), clock)

    @property
    def engine(self) -> sa.Engine:
        """The database, for what lives beside the jobs."""
        return self._engine

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
            rate = {"token_steps_per_s": token_steps_per_s} if token_steps_per_s > 0 else {}
            db.execute(models.update().where(models.c.name == model).values(seen_at=now, **rate))

    def keep_offered(self, checkpoint: str) -> bool:
        """Offer the model of a checkpoint although no sampler of it lives; False when none has introduced it yet."""
        with self._writing() as db:
            cards = db.execute(sa.select(models.c.name, models.c.card)).all()
            names = [row.name for row in cards if row.card.get("checkpoint") == checkpoint]
            db.execute(models.update().where(models.c.name.in_(names)).values(seen_at=self._clock()))
        return bool(names)

    def backlog(self, owner: str | None = None) -> Backlog:
        """The work ahead and what the workers seen lately manage; ``waiting`` counts one owner's jobs when asked."""
        values = {"live_since": self._clock() - _WORKER_SILENT_S} | ({} if owner is None else {"owner": owner})
        with self._reading() as db:
            row = db.execute(backlog_query(of_owner=owner is not None), values).one()
        return Backlog(
            waiting=row.waiting,
            unsampled=row.unsampled,
            token_steps=float(row.token_steps or 0.0),
            token_steps_per_s=float(row.rate or 0.0),
            rate_of_one=float(row.rate_of_one or 0.0),
            live_workers=row.live_workers,
        )

    def counts(self) -> dict[Status, int]:
        """How many jobs there are of every status."""
        query = sa.select(jobs.c.status, sa.func.count()).where(jobs.c.deleted_at.is_(None)).group_by(jobs.c.status)
        with self._reading() as db:
            found = {Status(status): number for status, number in db.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    def failures(self) -> dict[str, int]:
        """How many failed jobs there are of every reason."""
        failed = jobs.c.status == Status.FAILED
        query = sa.select(jobs.c.error_code, sa.func.count()).where(failed).group_by(jobs.c.error_code)
        with self._reading() as db:
            return {str(code): number for code, number in db.execute(query)}

    def leases(self) -> dict[Stage, int]:
        """How many jobs workers hold at every stage."""
        held = jobs.c.lease_owner.is_not(None) & jobs.c.status.in_(OPEN)
        query = sa.select(jobs.c.stage, sa.func.count()).where(held).group_by(jobs.c.stage)
        with self._reading() as db:
            found = {Stage(stage): number for stage, number in db.execute(query)}
        return {stage: found.get(stage, 0) for stage in Stage}
