"""Characters as they go over the wire: kept from a clip, and named by the prompts of videos."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.video.edit_schemas import SourceVideo
from services.video.ledger.cast import Character as KnownCharacter
from services.video.limits import Moment
from services.video.schemas import check_span


class CreateCharacter(BaseModel):
    """The body of ``POST /v1/videos/characters``; ``video`` is a file, or a video of the same key by id."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=80, description="how prompts call it")
    video: SourceVideo | None = Field(default=None, description="what shows it: a file, or a video of this key by id")
    start_s: Moment = Field(default=0, description="where in it the subject is seen, in seconds")
    end_s: Moment | None = Field(default=None, description="until when")

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        check_span(self.start_s, self.end_s)
        return self


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
