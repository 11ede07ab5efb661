"""Who works on which models, how fast, and how much there is to do."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from services.video.job import OPEN, Backlog, Crowd, Stage, Status
from services.video.ledger.database import Database
from services.video.ledger.statements import CROWD, backlog_query
from services.video.ledger.tables import jobs, models, turns, workers

_WORKER_SILENT_S = 60.0  # then its rate no longer counts
_MODEL_SILENT_S = 600.0  # then its model is no longer offered
_LEARNED = 0.1  # of the error of one job
_FACTORS = (0.1, 10.0)


class Roster:
    """The ledger in numbers. Each method is one transaction; LedgerUnavailable when the database doesn't answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish_model(self, name: str, card: Mapping[str, Any]) -> None:
        """Tell the API what the served model is and can do; a later sampler's word replaces it."""
        values = {"card": dict(card), "published_at": self._database.now(), "seen_at": self._database.now()}
        with self._database.writing() as db:
            if not db.execute(models.update().where(models.c.name == name).values(**values)).rowcount:
                db.execute(models.insert().values(name=name, **values))

    def model_cards(self) -> list[dict[str, Any]]:
        """The cards of the models whose samplers lately gave a sign of life, the last published first."""
        lately = models.c.seen_at > self._database.now() - _MODEL_SILENT_S
        query = sa.select(models.c.card).where(lately).order_by(models.c.published_at.desc())
        with self._database.reading() as db:
            return list(db.execute(query).scalars())

    def beat(
        self,
        worker: str,
        model: str,
        token_steps_per_s: float,
        *,
        stage: Stage = Stage.SAMPLE,
        decoded_per_s: float = 0.0,
    ) -> None:
        """A worker's sign of life and its measured rate; workers that are long silent are forgotten."""
        now = self._database.now()
        rates = {"token_steps_per_s": token_steps_per_s, "decoded_per_s": decoded_per_s}
        values = {"model": model, "seen_at": now, "stage": stage} | rates
        with self._database.writing() as db:
            if not db.execute(workers.update().where(workers.c.id == worker).values(**values)).rowcount:
                db.execute(workers.insert().values(id=worker, **values))
            db.execute(workers.delete().where(workers.c.seen_at < now - _MODEL_SILENT_S))
            known = {name: rate for name, rate in rates.items() if rate > 0}
            db.execute(models.update().where(models.c.name == model).values(seen_at=now, **known))

    def retire(self, worker: str) -> None:
        """A worker goes; its rate counts no longer."""
        with self._database.writing() as db:
            db.execute(workers.delete().where(workers.c.id == worker))

    def learn_wait(self, model: str, took_over_reckoned: float) -> None:
        """A job took so many times what was reckoned of it by the rates alone; predictions follow."""
        least, most = _FACTORS
        error = min(most, max(least, took_over_reckoned)) - models.c.wait_factor
        with self._database.writing() as db:
            update = models.update().where(models.c.name == model)
            db.execute(update.values(wait_factor=models.c.wait_factor + _LEARNED * error))

    def keep_offered(self, checkpoint: str) -> list[str]:
        """Offer the models of a checkpoint although no sampler of it lives; their names."""
        with self._database.writing() as db:
            cards = db.execute(sa.select(models.c.name, models.c.card)).all()
            names = [row.name for row in cards if row.card.get("checkpoint") == checkpoint]
            db.execute(models.update().where(models.c.name.in_(names)).values(seen_at=self._database.now()))
        return names

    def backlog(self, owner: str | None = None, model: str | None = None) -> Backlog:
        """The work ahead and what the workers seen lately manage, for one model when asked; ``waiting`` counts one
        owner's jobs when asked."""
        values: dict[str, Any] = {"live_since": self._database.now() - _WORKER_SILENT_S}
        values |= {name: value for name, value in (("owner", owner), ("model", model)) if value is not None}
        query = backlog_query(of_owner=owner is not None, of_model=model is not None)
        with self._database.reading() as db:
            row = db.execute(query, values).one()
        return Backlog(
            waiting=int(row.waiting or 0),
            unsampled=int(row.unsampled or 0),
            undecoded=int(row.undecoded or 0),
            token_steps=float(row.token_steps or 0.0),
            tokens=float(row.tokens or 0.0),
            token_steps_per_s=float(row.token_steps_per_s or 0.0),
            decoded_per_s=float(row.decoded_per_s or 0.0),
            rate_of_one=float(row.model_token_steps_per_s or 0.0),
            decoded_by_one=float(row.model_decoded_per_s or 0.0),
            wait_factor=float(row.model_wait_factor or 1.0),
            live_workers=int(row.live_workers or 0),
        )

    def crowd(self, model: str, lately_s: float) -> Crowd:
        """The jobs of a model to be sampled, and the samplers that gave a sign of life so lately."""
        with self._database.reading() as db:
            row = db.execute(CROWD, {"model": model, "live_since": self._database.now() - lately_s}).one()
        return Crowd(float(row.tokens or 0.0), row.samplers, row.idle)

    def take_turn(self, name: str, every_s: float, gap_s: float) -> float | None:
        """Take the next turn at what one process does for all, when it is due and nobody else has.

        Seconds since when turns were taken without a gap of ``gap_s``: a longer one tells of an outage of the ledger.
        """
        now, mine = self._database.now(), turns.c.name == name
        query = sa.select(turns).where(mine).with_for_update()
        with self._database.writing() as db:
            last = db.execute(query).one_or_none()
            if last is None:
                with suppress(sa.exc.IntegrityError), db.begin_nested():  # another process may be faster
                    db.execute(turns.insert().values(name=name, taken_at=now, steady_since=now))
                    return 0.0
                return None
            if last.taken_at > now - every_s:
                return None
            since = last.steady_since if now - last.taken_at <= gap_s else now
            db.execute(turns.update().where(mine).values(taken_at=now, steady_since=since))
        return float(now - since)

    def counts(self) -> dict[Status, int]:
        """How many jobs there are of every status."""
        query = sa.select(jobs.c.status, sa.func.count()).where(jobs.c.deleted_at.is_(None)).group_by(jobs.c.status)
        with self._database.reading() as db:
            found = {Status(status): number for status, number in db.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    def failures(self) -> dict[str, int]:
        """How many failed jobs there are of every reason."""
        failed = jobs.c.status == Status.FAILED
        query = sa.select(jobs.c.error_code, sa.func.count()).where(failed).group_by(jobs.c.error_code)
        with self._database.reading() as db:
            return {str(code): number for code, number in db.execute(query)}

    def leases(self) -> dict[Stage, int]:
        """How many jobs workers hold at every stage."""
        held = jobs.c.lease_owner.is_not(None) & jobs.c.status.in_(OPEN)
        query = sa.select(jobs.c.stage, sa.func.count()).where(held).group_by(jobs.c.stage)
        with self._database.reading() as db:
            found = {Stage(stage): number for stage, number in db.execute(query)}
        return {stage: found.get(stage, 0) for stage in Stage}
