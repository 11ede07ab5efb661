"""The routes of characters: subjects that prompts name and a clip shows."""

from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from services.video.character_schemas import Character, CharacterList, CreateCharacter, DeletedCharacter
from services.video.intake.material import VIDEO
from services.video.ledger.cast import Character as KnownCharacter
from services.video.routes.access import Owner, TheService, keyed_router
from services.video.routes.forms import Uploads, read_body
from services.video.routes.parameters import body_schema, parse

router = keyed_router("/videos/characters")


def _own_character(character_id: str, service: TheService, owner: Owner) -> KnownCharacter:
    return service.intake.characters.get(character_id, owner)


OwnCharacter = Annotated[KnownCharacter, Depends(_own_character)]


@router.post("", openapi_extra=body_schema(CreateCharacter, files=(VIDEO,)))
async def create_character(request: Request, service: TheService, owner: Owner, uploads: Uploads) -> Character:
    """Keep the beginning of a video, or of a part of it, as what a name stands for in prompts."""
    limits = service.config.api
    body = await read_body(request, limits, limits.max_upload_bytes, uploads, limits.max_video_bytes, (VIDEO,))
    wanted = parse(CreateCharacter, body, files=(VIDEO,))
    cards = service.intake.cards()
    create = partial(service.intake.characters.create, owner, wanted, body.files.get(VIDEO), cards)
    return Character.of(await service.turns.run(owner, create))


@router.get("")
def list_characters(service: TheService, owner: Owner) -> CharacterList:
    """The key's characters, newest first."""
    return CharacterList(data=[Character.of(kept) for kept in service.intake.characters.all(owner)])


@router.get("/{character_id}")
def retrieve_character(character: OwnCharacter) -> Character:
    """One character."""
    return Character.of(character)


@router.delete("/{character_id}")
def delete_character(character: OwnCharacter, service: TheService) -> DeletedCharacter:
    """Forget a character and its clip; videos made with it stay."""
    service.intake.characters.remove(character)
    return DeletedCharacter(id=character.id)
