"""Characters: from a file to a clip that a model reads as its reference, and from their ids to such clips."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.video.character_schemas import CreateCharacter
from services.video.config import ServiceConfig
from services.video.errors import ApiError, refused, unavailable
from services.video.files import character_file
from services.video.intake.decoders import Decoders
from services.video.intake.looks import frames_of
from services.video.intake.material import VIDEO, Asked
from services.video.intake.sizing import clip_grid
from services.video.intake.sources import Part, Sources, Wanted, usual
from services.video.ledger import Ledger
from services.video.ledger.cast import CHARACTER_ID, Character
from services.video.moderation.guard import Asker, Guard
from services.video.schemas import CreateVideo, ModelCard
from sora_core import media, storage
from sora_core.errors import InputError, MissingObject, StorageError
from sora_core.safety.gate.verdict import Stage
from sora_core.shapes import Compression, PixelShape
from sora_core.training.references import MAX_REFERENCE_FRAMES, MAX_REFERENCES

log = logging.getLogger(__name__)

CHARACTERS = "characters"


class Characters:
    """Keeps and finds the characters of known owners; safe to use from several threads."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, decoders: Decoders, guard: Guard) -> None:
        self._config = config
        self._ledger = ledger
        self._guard = guard
        self._sources = Sources(config.api, ledger, decoders)

    def create(self, owner: str, wanted: CreateCharacter, file: Path | None, cards: Sequence[ModelCard]) -> Character:
        """Keep the beginning of a video, or of its part, at the rate and size of the first model that can use it."""
        if not cards:
            raise unavailable("the model is still loading: try again soon", retry_after_s=5)
        able = [card for card in cards if card.characters]
        if not able:
            message = "no model is served here that was trained with reference clips of characters"
            raise ApiError(400, message, code="unsupported")
        name = wanted.name
        self._guard.check_text(Asker(owner), Stage.NAME, "name", name)
        with storage.scratch() as folder:
            path, shape = self._beginning(self._shown(owner, wanted, file, folder), wanted, able[0], folder)
            self._guard.check_pictures(Asker(owner), VIDEO, frames_of(Part(path, shape), folder / "seen"))
            character = self._ledger.cast.new_character(owner, name, shape)
            character = replace(character, uri=character_file(self._config.output, character.id))
            storage.upload(path, self._place(character))
        most = self._config.api.max_characters_per_key
        if not self._ledger.cast.keep_character(character, most):
            self._discard(character)
            raise refused("name", f"the key has {most} characters already: delete one", "too_many")
        return character

    def get(self, character_id: str, owner: str, param: str | None = None) -> Character:
        """A character of the same key. ApiError 404 when there is none."""
        known = CHARACTER_ID.fullmatch(character_id) is not None
        character = self._ledger.cast.character(character_id, owner) if known else None
        if character is None:
            message = f"no character {character_id!r}: it never was, was deleted, or is another key's"
            raise ApiError(404, message, param=param, code="not_found")
        return character

    def all(self, owner: str) -> list[Character]:
        """The owner's, newest first."""
        return self._ledger.cast.characters(owner)

    def remove(self, character: Character) -> None:
        """Forget a character; videos that were asked for with it have a copy of their own."""
        self._ledger.cast.forget_character(character.id, character.owner)
        self._discard(character)

    def of(self, asked: Asked) -> list[Part]:
        """The clips of the characters that a request names, as local files; ApiError that says what is wrong."""
        ids = [one.id for one in asked.wish.characters] if isinstance(asked.wish, CreateVideo) else []
        if not ids:
            return []
        if not asked.card.characters:
            message = f"model {asked.card.id!r} was not trained with reference clips of characters: leave them out"
            raise refused(CHARACTERS, message, "unsupported")
        if len(ids) > MAX_REFERENCES:
            raise refused(CHARACTERS, f"{len(ids)} characters: at most {MAX_REFERENCES} in a video")
        return [self._clip(asked, self.get(character_id, asked.owner, CHARACTERS)) for character_id in ids]

    def _clip(self, asked: Asked, character: Character) -> Part:
        if character.name.casefold() not in asked.wish.prompt.casefold():
            message = f"the prompt doesn't name {character.name!r}: say what the character does"
            raise refused("prompt", message, "character_not_named")
        try:
            clip_grid(asked.card, character.shape.frames, character.shape.height, character.shape.width)
            return Part(storage.download(self._place(character), asked.folder / character.id), character.shape)
        except InputError as error:
            message = f"{character.id} was kept for another model ({error}): create it again"
            raise refused(CHARACTERS, message) from error
        except MissingObject as error:
            message = f"the clip of {character.id} is not in the storage any more"
            raise ApiError(404, message, param=CHARACTERS, code="not_found") from error

    def _shown(self, owner: str, wanted: CreateCharacter, file: Path | None, folder: Path) -> Path:
        """What was sent, or the film of the video that was named, as a local file."""
        if wanted.video is not None and file is not None:
            raise refused(VIDEO, f"parameter {VIDEO!r} is given twice: give a file or an id")
        if wanted.video is not None:
            return self._sources.fetch(self._sources.own(owner, wanted.video.id, VIDEO), VIDEO, folder)
        if file is None:
            raise refused(VIDEO, f"parameter {VIDEO!r} is required: a file, or the id of a video", "missing_parameter")
        self._sources.check_bytes(file, VIDEO)
        return file

    def _beginning(self, file: Path, wanted: CreateCharacter, card: ModelCard, folder: Path) -> tuple[Path, PixelShape]:
        """The first frames of a file, or of its part, as many as a reference may have, as a local file."""
        compression = Compression(card.frame_multiple)
        most = compression.pixel_frames(MAX_REFERENCE_FRAMES)
        longest_s = wanted.start_s + most / card.fps
        end_s = longest_s if wanted.end_s is None else min(wanted.end_s, longest_s)
        clip = self._sources.read(file, VIDEO, Wanted(usual(card), card.fps, wanted.start_s, end_s))
        frames = media.read_film(clip.path, folder / "frames", clip.shape)
        kept = folder / "clip"
        return kept, media.write_film(kept, frames[: compression.trim_frames(min(most, len(frames)))])

    def _place(self, character: Character) -> str:
        """Where its clip lies: where it was stored, also when the output has moved since."""
        return character.uri or character_file(self._config.output, character.id)

    def _discard(self, character: Character) -> None:
        """Remove the clip of a character that isn't in the ledger; while storage is away it stays for the sweeper."""
        try:
            storage.delete_prefix(self._place(character).rpartition("/")[0])
        except StorageError as error:
            log.warning("the clip of %s stays for now: %s", character.id, error)
