"""The appeal log: what the gate refused, which an operator may read and overrule; then it passes in every replica."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from services.video.ledger import Ledger
from services.video.ledger.account_tables import moderation_cases as cases
from services.video.ledger.tables import database


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A refusal. ``digest`` is what was looked at; of pictures nothing else is kept. ``count`` is how often the owner
    asked for it. Times are Unix seconds."""

    id: str
    at: float
    owner: str
    key_id: str
    stage: str
    field: str
    category: str
    rule: str
    score: float
    digest: str
    text: str | None = None
    job_id: str | None = None
    count: int = 1
    overruled_at: float | None = None
    overruled_by: str | None = None


def case_id(owner: str, digest: str) -> str:
    """The same for the same refusal of the same owner."""
    whole = hashlib.sha256(f"{owner} {digest}".encode()).hexdigest()
    return f"mod_{whole[:24]}"


class CaseStore:
    """Each method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, ledger: Ledger, keep_s: float, clock: Callable[[], float] = time.time) -> None:
        self._engine = ledger.engine
        self._keep_s = keep_s
        self._clock = clock

    @property
    def now(self) -> float:
        return self._clock()

    def record(self, case: Case) -> bool:
        """Write a refusal down, and forget those that are too old. False when it was overruled, and passes."""
        overruled = sa.select(cases.c.id).where(cases.c.digest == case.digest, cases.c.overruled_at.is_not(None))
        mine, now = cases.c.id == case.id, self._clock()
        again = cases.update().where(mine).values(count=cases.c.count + 1, at=now)
        with database(self._engine, writes=True) as db:
            if db.execute(overruled.limit(1)).first() is not None:
                return False
            old = (cases.c.at < now - self._keep_s) & cases.c.overruled_at.is_(None)
            db.execute(cases.delete().where(old))
            if db.execute(again).rowcount == 0:
                try:
                    with db.begin_nested():
                        db.execute(cases.insert().values(**asdict(case)))
                except sa.exc.IntegrityError:  # another replica was faster
                    db.execute(again)
        return True

    def all(self, *, owner: str | None, only_open: bool, before: str | None, limit: int) -> list[Case]:
        """The log, newest first, from before a case on."""
        query = sa.select(cases).order_by(cases.c.at.desc(), cases.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(cases.c.owner == owner)
        if only_open:
            query = query.where(cases.c.overruled_at.is_(None))
        if before is not None:
            known = sa.select(cases.c.at).where(cases.c.id == before).scalar_subquery()
            query = query.where(sa.or_(cases.c.at < known, sa.and_(cases.c.at == known, cases.c.id < before)))
        with database(self._engine, writes=False) as db:
            return [Case(**row._mapping) for row in db.execute(query)]

    def overrule(self, name: str, actor: str) -> Case | None:
        """Let what was refused pass from now on, for whoever asks; None when there is no such case."""
        mine = cases.c.id == name
        with database(self._engine, writes=True) as db:
            values = {"overruled_at": self._clock(), "overruled_by": actor}
            db.execute(cases.update().where(mine, cases.c.overruled_at.is_(None)).values(**values))
            row = db.execute(sa.select(cases).where(mine)).one_or_none()
        return None if row is None else Case(**row._mapping)
