"""Characters as they go over the wire: kept from a clip, and named by the prompts of videos."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.video.ledger.cast import Character as KnownCharacter


class CreateCharacter(BaseModel):
    """The body of ``POST /v1/videos/characters``, beside its file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80, description="how prompts call it")


class Character(BaseModel):
    """A character as the official clients know it."""

    id: str
    created_at: int
    name: str

    @classmethod
    def of(cls, kept: KnownCharacter) -> "Character":
        return cls(id=kept.id, created_at=int(kept.created_at), name=kept.name)


class CharacterList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Character]


class DeletedCharacter(BaseModel):
    id: str
    object: Literal["character.deleted"] = "character.deleted"
    deleted: Literal[True] = True
