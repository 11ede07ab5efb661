"""The line of accepted jobs: which of those that wait is how near, and how much work is done before each has ended."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.video.job import OPEN, SAMPLED_PERCENT, Stage, Status
from services.video.ledger.ledger import Ledger
from services.video.ledger.tables import database, jobs

_SEEN = (jobs.c.id, jobs.c.model, jobs.c.status, jobs.c.stage, jobs.c.tokens, jobs.c.num_steps, jobs.c.progress)


@dataclass(frozen=True, slots=True)
class Place:
    """``position`` counts from 1, None once a job was begun; ``token_steps`` and ``tokens`` are sampled and decoded
    until it has ended."""

    position: int | None
    token_steps: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Line:
    """Where every open job stood when it was asked, and where a later one would: at its model's end."""

    places: dict[str, Place]
    ends: dict[str, Place]


def line_of(ledger: Ledger) -> Line:
    """All open jobs, in the order in which they came or count as having come. LedgerUnavailable while it is away."""
    query: sa.Select[Any] = sa.select(*_SEEN).where(jobs.c.status.in_(OPEN), jobs.c.deleted_at.is_(None))
    by_model: defaultdict[str, list[sa.Row[Any]]] = defaultdict(list)
    with database(ledger.engine, writes=False) as db:
        for row in db.execute(query.order_by(jobs.c.queued_as, jobs.c.id)):
            by_model[row.model].append(row)
    line = Line({}, {})
    for model, rows in by_model.items():
        waiting, last = 0, Place(None, 0.0, 0.0)
        for row, token_steps, tokens in _worked_off(rows):
            waiting += row.status == Status.QUEUED
            last = Place(waiting if row.status == Status.QUEUED else None, token_steps, tokens)
            line.places[row.id] = last
        line.ends[model] = Place(waiting + 1, last.token_steps, last.tokens)
    return line


def _worked_off(rows: Iterable[sa.Row[Any]]) -> Iterator[tuple[sa.Row[Any], float, float]]:
    """The jobs in the order in which they should end, with the work until then.

    Those in a batch take their steps together: until one ends, the others have taken as many.
    """
    sampled: list[sa.Row[Any]] = []
    begun: list[sa.Row[Any]] = []
    queued: list[sa.Row[Any]] = []
    for row in rows:
        if row.stage == Stage.DECODE:
            sampled.append(row)
        else:
            (queued if row.status == Status.QUEUED else begun).append(row)
    token_steps = tokens = steps = 0.0
    together = float(sum(row.tokens for row in begun))
    for row in sampled:
        tokens += row.tokens
        yield row, 0.0, tokens
    for row in sorted(begun, key=_steps_left):
        token_steps += (_steps_left(row) - steps) * together
        steps, together, tokens = _steps_left(row), together - row.tokens, tokens + row.tokens
        yield row, token_steps, tokens
    for row in queued:
        token_steps, tokens = token_steps + row.tokens * row.num_steps, tokens + row.tokens
        yield row, token_steps, tokens


def _steps_left(row: sa.Row[Any]) -> float:
    steps: float = row.num_steps * (1 - min(row.progress, SAMPLED_PERCENT) / SAMPLED_PERCENT)
    return steps
