"""Characters in the ledger's database: what each key has kept to show to its videos."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.video.ledger.ledger import Ledger
from services.video.ledger.tables import available, characters, transaction
from sora_core.shapes import PixelShape

CHARACTER_ID = re.compile(r"char_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Character:
    """A subject by its name, and the shape of the clip that shows it."""

    id: str
    owner: str
    name: str
    shape: PixelShape
    created_at: float


class Cast:
    """Every method is one transaction. Raises LedgerUnavailable when the database doesn't answer."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._engine = ledger.engine
        self._clock = clock

    @contextmanager
    def _database(self, *, writes: bool) -> Iterator[sa.Connection]:
        with available(self._engine), transaction(self._engine, writes=writes) as db:
            yield db

    def new(self, owner: str, name: str, shape: PixelShape) -> Character:
        """A character with an id of its own, not yet kept."""
        now = self._clock()
        return Character(f"char_{int(now * 1000):012x}{secrets.token_hex(10)}", owner, name, shape, now)

    def add(self, character: Character, most: int) -> bool:
        """Keep a character; False when its owner has ``most`` already."""
        shape = character.shape
        row: dict[str, Any] = {"id": character.id, "owner": character.owner, "name": character.name}
        row |= {"frames": shape.frames, "height": shape.height, "width": shape.width}
        mine = sa.select(sa.func.count()).where(characters.c.owner == character.owner)
        with self._database(writes=True) as db:
            if db.execute(mine).scalar_one() >= most:
                return False
            db.execute(characters.insert().values(**row, created_at=character.created_at))
        return True

    def get(self, character_id: str, owner: str) -> Character | None:
        """A character of the owner's."""
        with self._database(writes=False) as db:
            row = db.execute(sa.select(characters).where(_own(character_id, owner))).one_or_none()
        return None if row is None else _character(row)

    def all(self, owner: str) -> list[Character]:
        """The owner's characters, newest first."""
        query = sa.select(characters).where(characters.c.owner == owner).order_by(characters.c.id.desc())
        with self._database(writes=False) as db:
            return [_character(row) for row in db.execute(query)]

    def remove(self, character_id: str, owner: str) -> bool:
        """Forget a character; False when there is none."""
        with self._database(writes=True) as db:
            return db.execute(characters.delete().where(_own(character_id, owner))).rowcount == 1


def _own(character_id: str, owner: str) -> sa.ColumnElement[bool]:
    return (characters.c.id == character_id) & (characters.c.owner == owner)


def _character(row: sa.Row[Any]) -> Character:
    return Character(row.id, row.owner, row.name, PixelShape(row.frames, row.height, row.width), row.created_at)
