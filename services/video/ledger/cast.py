"""Characters in the ledger's database: what each key has kept to show to its videos."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.video.ledger.database import Database
from services.video.ledger.tables import characters
from sora_core.shapes import PixelShape

CHARACTER_ID = re.compile(r"char_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Character:
    """A subject by its name, and the shape of the clip that shows it. ``created_at`` is in Unix seconds; ``uri`` is
    where the clip lies, None for one from before that was noted."""

    id: str
    owner: str
    name: str
    shape: PixelShape
    created_at: float
    uri: str | None = None


class Cast:
    """All owners' characters. Each method is one transaction; LedgerUnavailable when the database doesn't answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def new_character(self, owner: str, name: str, shape: PixelShape) -> Character:
        """A character with an id of its own, not yet in the ledger."""
        now = self._database.now()
        return Character(f"char_{int(now * 1000):012x}{secrets.token_hex(10)}", owner, name, shape, now)

    def keep_character(self, character: Character, most: int) -> bool:
        """Put a character in the ledger; False when its owner has ``most`` already."""
        shape = character.shape
        row: dict[str, Any] = {"id": character.id, "owner": character.owner, "name": character.name}
        row |= {"frames": shape.frames, "height": shape.height, "width": shape.width}
        mine = sa.select(sa.func.count()).where(characters.c.owner == character.owner)
        with self._database.writing() as db:
            if db.execute(sa.select(characters.c.id).where(_own(character.id, character.owner))).first():
                return True  # the answer to an earlier try got lost
            if db.execute(mine).scalar_one() >= most:
                return False
            db.execute(characters.insert().values(**row, created_at=character.created_at, uri=character.uri))
        return True

    def character(self, character_id: str, owner: str) -> Character | None:
        """A character of the owner's."""
        with self._database.reading() as db:
            row = db.execute(sa.select(characters).where(_own(character_id, owner))).one_or_none()
        return None if row is None else _character(row)

    def characters(self, owner: str) -> list[Character]:
        """The owner's characters, newest first."""
        query = sa.select(characters).where(characters.c.owner == owner).order_by(characters.c.id.desc())
        with self._database.reading() as db:
            return [_character(row) for row in db.execute(query)]

    def known_characters(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are characters, whoever's."""
        with self._database.reading() as db:
            return set(db.execute(sa.select(characters.c.id).where(characters.c.id.in_(ids))).scalars())

    def forget_character(self, character_id: str, owner: str) -> None:
        """Remove a character, if it is there."""
        with self._database.writing() as db:
            db.execute(characters.delete().where(_own(character_id, owner)))


def _own(character_id: str, owner: str) -> sa.ColumnElement[bool]:
    return (characters.c.id == character_id) & (characters.c.owner == owner)


def _character(row: sa.Row[Any]) -> Character:
    return Character(
        row.id, row.owner, row.name, PixelShape(row.frames, row.height, row.width), row.created_at, row.uri
    )
