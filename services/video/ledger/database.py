"""The ledger's database and its clock, as each part of the ledger works with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from services.video.ledger.clocks import clock_of
from services.video.ledger.tables import database


class Database:
    """An engine with the clock on which all hosts agree. LedgerUnavailable when it doesn't answer."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] | None = None) -> None:
        """``clock`` gives Unix seconds; the database's own when none is given."""
        self.engine = engine
        self.now = clock or clock_of(engine)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing."""
        with database(self.engine, writes=False) as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end, rolled back on an error."""
        with database(self.engine, writes=True) as db:
            yield db
