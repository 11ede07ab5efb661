"""One clock for all hosts that share a ledger: the database's."""

import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from services.video.ledger.tables import LedgerUnavailable, available, transaction

_SYNC_S = 30.0


def clock_of(engine: sa.Engine) -> Callable[[], float]:
    """Unix seconds by the database: PostgreSQL's host's, or this host's, on which alone an SQLite file lies."""
    return DatabaseClock(engine) if engine.dialect.name == "postgresql" else time.time


class DatabaseClock:
    """The server's time: asked now and then, and in between counted on, so that no host's own clock matters."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._ahead: float | None = None
        self._due = 0.0

    def __call__(self) -> float:
        """Unix seconds. LedgerUnavailable when the server has never answered."""
        if self._ahead is None:
            with self._lock:
                return time.monotonic() + (self._ask() if self._ahead is None else self._ahead)
        if time.monotonic() > self._due and self._lock.acquire(blocking=False):
            try:
                self._ask()
            except LedgerUnavailable:
                self._due = time.monotonic() + 1.0  # counted on meanwhile
            finally:
                self._lock.release()
        return time.monotonic() + self._ahead

    def _ask(self) -> float:
        began = time.monotonic()
        with available(self._engine), transaction(self._engine, writes=False) as db:
            now = db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        ended = time.monotonic()
        self._ahead, self._due = float(now) - (began + ended) / 2, ended + _SYNC_S
        return self._ahead
