"""From a request's parameters to accepted jobs: everything that can be refused is refused here, before any work."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from services.video.cached import Cached
from services.video.config import ServiceConfig
from services.video.errors import ApiError, refused, unavailable
from services.video.files import clip_file, reference_file, sound_file
from services.video.film import Film, StoredClip
from services.video.intake.admission import charges_of, check_before, check_image_wait, check_queue
from services.video.intake.characters import Characters
from services.video.intake.decoders import Decoders
from services.video.intake.keeping import Decided, discard, store
from services.video.intake.looks import check_parts, check_words
from services.video.intake.material import Asked, Materials, sound_of
from services.video.intake.prompts import Prompts, Words
from services.video.intake.repetition import once_of, told
from services.video.intake.sizing import clip_grid, room_of, size_clip, size_film
from services.video.job import Idempotency, Job, Kind, NewJob, new_id
from services.video.job import Stage as JobStage
from services.video.ledger import Ledger
from services.video.ledger.rates import Charge
from services.video.ledger.tables import LedgerUnavailable
from services.video.limits import check, check_film
from services.video.moderation.guard import Asker, Guard
from services.video.provenance.sources import with_credentials
from services.video.schemas import CreateVideo, ModelCard, Wish
from sora_core import storage
from sora_core.edits import Edit, Interpolate, Join
from sora_core.edits.spec import ability
from sora_core.errors import InputError
from sora_core.media import Limits
from sora_core.safety.gate.verdict import Stage
from sora_core.shapes import PixelShape

_KEEP_S = 1.0
_DECODED_AT_ONCE = 2  # a decoder, and the encoder of what it gives, take a core and some hundred megabytes
_INTERPOLATION = "enable_frame_interpolation"


class Intake:
    """Accepts requests of known owners into the ledger."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._config = config
        self._ledger = ledger
        self._clock = clock or ledger.now
        most = Limits(config.api.decoder_memory_bytes, config.api.decoder_cpu_s, config.api.decoder_cpu_s)
        self.decoders = Decoders(_DECODED_AT_ONCE, most)
        self.guard = Guard.of(config.moderation, ledger)
        self.characters = Characters(config, ledger, self.decoders, self.guard)
        self._materials = Materials(config.api, ledger, self.decoders)
        self._prompts = Prompts(config.api)
        self._cards = Cached(self._ask_cards, _KEEP_S)

    def close(self) -> None:
        """End the processes that decode."""
        self.decoders.close()

    def cards(self) -> list[ModelCard]:
        """The served models; none until a sampler has loaded one."""
        return self._cards()

    def _ask_cards(self) -> list[ModelCard]:
        """Those of this service's own model first: it answers where none is named."""
        cards = [ModelCard.model_validate(card) for card in self._ledger.roster.model_cards()]
        return sorted(cards, key=lambda card: card.checkpoint != self._config.checkpoint)

    def accept(
        self,
        owner: str,
        request: Wish,
        files: Mapping[str, Path] | None = None,
        idempotency_key: str | None = None,
        *,
        kind: Kind = Kind.VIDEO,
        remixed_from: str | None = None,
        said: BaseModel | None = None,
        key_id: str = "",
    ) -> list[Job]:
        """The jobs of a request, one a video, in the ledger; ApiError that names what is wrong.

        ``files`` are those that came with it, by the name of their part; ``said`` is what the client said when that
        is another than the request. A repetition gets what the first made, whatever would be refused by now.
        """
        once = once_of(idempotency_key, said or request, files or {}, remixed_from)
        made = self._repeated(owner, once)
        if made is not None:
            return made
        try:
            return self._accept_new(owner, key_id, request, files or {}, once, kind, remixed_from)
        except ApiError:
            made = self._repeated(owner, once)  # its twin was faster, and may be what fills the queue
            if made is None:
                raise
            return made

    def repeated(
        self, owner: str, said: BaseModel, idempotency_key: str | None, *, remixed_from: str | None = None
    ) -> list[Job] | None:
        """What a request without files made when it came before; None when it didn't. ApiError when nothing is left."""
        return self._repeated(owner, once_of(idempotency_key, said, {}, remixed_from))

    def _repeated(self, owner: str, once: Idempotency | None) -> list[Job] | None:
        with told():
            return None if once is None else self._ledger.repeated(owner, once)

    def _accept_new(
        self,
        owner: str,
        key_id: str,
        request: Wish,
        files: Mapping[str, Path],
        once: Idempotency | None,
        kind: Kind,
        remixed_from: str | None,
    ) -> list[Job]:
        card = self._card(request.model)
        limits = self._config.api
        check(request, limits)
        if kind is Kind.IMAGE:
            check_image_wait(self._ledger, limits, card.id)
        check_before(self._ledger, limits, owner, card.id, request.n, self._clock())
        asker = Asker(owner, key_id)
        check_words(self.guard, asker, request)
        words = self._prompts.read(request, card)
        self.guard.check_text(asker, Stage.REVISED_PROMPT, "enhance_prompt", words.revised)
        with storage.scratch() as folder:
            asked = Asked(owner, request, files, card, folder, key_id)
            decided = self._decide(asked, remixed_from)
            waits = check_queue(self._ledger, limits, owner, card.id, request.n, decided.sizing)
            check_parts(self.guard, asked, decided.parts)
            new = [
                replace(job, predicted_s=waits[0], reckoned_s=waits[1])
                for job in self._jobs(asked, decided, kind, words)
            ]
            charges = charges_of(limits.limits_of(owner), request.n * decided.sizing.num_made / decided.sizing.fps)
            return self._put(new, decided, once, charges)

    def _card(self, model: str | None) -> ModelCard:
        cards = self.cards()
        if not cards:
            raise unavailable("the model is still loading: try again soon", retry_after_s=5)
        if model is None or model in self._config.api.aliases:
            return cards[0]
        for card in cards:
            if card.id == model:
                return card
        names = ", ".join(card.id for card in cards)
        raise refused("model", f"model {model!r} is not served here: use {names}", "model_not_found")

    def _decide(self, asked: Asked, remixed_from: str | None) -> Decided:
        """The shape of a request, and the windows of its edit."""
        request, card, limits = asked.wish, asked.card, self._config.api
        words, shape = None, None
        cast = self.characters.of(asked)
        beside = sum(
            clip_grid(card, clip.shape.frames, clip.shape.height, clip.shape.width).num_tokens for clip in cast
        )
        if isinstance(request, CreateVideo):
            words = size_clip(request, card, beside)
            shape = PixelShape(words.num_frames, words.height, words.width)
        material = self._materials.of(asked, shape)
        makes_nothing = material is not None and isinstance(material.edit, Join)
        if "text" not in card.inputs and not makes_nothing and (material is None or ability(material.edit) is None):
            message = f"model {card.id!r} makes nothing from words alone; it can do: {', '.join(card.edits)}"
            raise refused(asked.starts_from, message, "unsupported")
        if material is None:
            assert words is not None
            return Decided(words, None, None, [], cast, remixed_from)
        _check_learned(material.edit, card, asked.starts_from)
        if material.factor > 1:
            _check_learned(Interpolate(material.factor), card, _INTERPOLATION)
        clips = tuple(StoredClip("", part.shape) for part in material.parts)
        film = Film(material.edit, clips, room_of(request, card, beside), factor=material.factor)
        try:
            stages = film.stages()
        except InputError as error:
            raise refused(asked.starts_from, str(error)) from error
        fps = material.fps * material.factor
        check_film(_INTERPOLATION if material.factor > 1 else asked.starts_from, stages[-1].film, fps, limits)
        sizing = size_film(stages, fps, request, card, beside)
        sound = sound_of(material, stages[0].layers, sizing.num_frames / sizing.fps)
        return Decided(sizing, film, sound, material.parts, cast, remixed_from, self._signed(asked))

    def _signed(self, asked: Asked) -> list[Path]:
        """Those of the files of a request that carry content credentials, where what comes of them will."""
        files = [*asked.used, *asked.files.values()]
        if not (files and self._config.provenance.credentials):
            return []
        with self.decoders.process() as process:
            return with_credentials(files, process)

    def _jobs(self, asked: Asked, decided: Decided, kind: Kind, words: Words) -> list[NewJob]:
        now, limits, request = self._clock(), self._config.api, asked.wish
        deadline_at = now + self._config.deadline_s if self._config.deadline_s else None
        seed = secrets.randbits(32) if request.seed is None else request.seed
        jobs = []
        for index in range(request.n):
            job_id = new_id(now, kind)
            jobs.append(
                NewJob(
                    id=job_id,
                    owner=asked.owner,
                    model=asked.card.id,
                    params=self._params(job_id, asked, decided, (seed + index) % 2**63, words),
                    tokens=decided.sizing.batch_tokens,
                    num_steps=decided.sizing.num_evaluations,
                    priority=request.priority,
                    stage=JobStage.SAMPLE if decided.sizing.num_windows else JobStage.DECODE,
                    made=None if decided.film is None and not decided.cast else [],
                    queued_as=now - request.priority * limits.priority_boost_s,
                    expires_at=now + limits.image_lifetime_s if kind is Kind.IMAGE else None,
                    deadline_at=deadline_at,
                )
            )
        return jobs

    def _params(self, job_id: str, asked: Asked, decided: Decided, seed: int, words: Words) -> dict[str, Any]:
        """What a sampler needs to know of a job."""
        request, sizing, film, output = asked.wish, decided.sizing, decided.film, self._config.output
        if film is not None:
            clips = [replace(clip, uri=clip_file(output, job_id, index)) for index, clip in enumerate(film.clips)]
            sound = None if decided.sound is None else sound_file(output, job_id)
            film = replace(film, clips=tuple(clips), sound=sound)
        cast = [StoredClip(reference_file(output, job_id, index), one.shape) for index, one in enumerate(decided.cast)]
        return {
            "prompt": request.prompt,
            "revised_prompt": words.revised,
            "truncated": words.truncated,
            "negative_prompt": request.negative_prompt,
            "num_frames": sizing.num_frames,
            "height": sizing.height,
            "width": sizing.width,
            "fps": sizing.fps,
            "seconds": sizing.seconds,
            "num_inference_steps": sizing.num_steps,
            "guidance_scale": sizing.guidance_scale,
            "seed": seed,
            "num_windows": sizing.num_windows,
            "film": film and film.to_json(),
            "remixed_from": decided.remixed_from,
            "characters": [one.id for one in request.characters] if isinstance(request, CreateVideo) else [],
            "references": [asdict(clip) for clip in cast],
            "sources": request.source_ids,
            "key": asked.key_id,
        }

    def _put(
        self, new: list[NewJob], decided: Decided, once: Idempotency | None, charges: Sequence[Charge]
    ) -> list[Job]:
        """Store the clips first: a sampler may have the job the moment after it is in the ledger."""
        for job in new:
            store(self._config.output, job, decided)
        try:
            with told():
                made = self._created(new, once, charges)
        except ApiError:
            discard(self._config.output, new, decided)
            raise
        if not {job.id for job in made} & {job.id for job in new}:
            discard(self._config.output, new, decided)
        return made

    def _created(self, new: list[NewJob], once: Idempotency | None, charges: Sequence[Charge]) -> list[Job]:
        """In the ledger; asked twice, for an answer that got lost would let the client make the jobs again."""
        try:
            return self._ledger.create(new, once, charges)
        except LedgerUnavailable:
            return self._ledger.create(new, once, charges)


def _check_learned(edit: Edit, card: ModelCard, param: str) -> None:
    name = ability(edit)
    if name is not None and name not in card.edits:
        message = f"{name}: model {card.id!r} was not trained for it; it can do: {', '.join(card.edits) or 'no edits'}"
        raise refused(param, message, "unsupported")
