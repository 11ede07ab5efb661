"""From a request's parameters to accepted jobs: everything that can be refused is refused here, before any work."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from services.video.config import ServiceConfig
from services.video.errors import ApiError, refused, unavailable
from services.video.files import input_file, job_folder
from services.video.intake.admission import check_queue, over_rate
from services.video.intake.pictures import Pictures
from services.video.intake.prompts import Prompts
from services.video.intake.sizing import Plan, plan
from services.video.job import Idempotency, IdempotencyConflict, Job, Kind, NewJob, new_id
from services.video.kept import Kept
from services.video.ledger import Ledger
from services.video.ledger.rates import Charge, OverRate, charges_of
from services.video.schemas import CreateVideo, ModelCard
from sora_core import storage

_MAX_KEY_CHARS = 255
_KEEP_S = 1.0


class Intake:
    """Accepts requests of known owners into the ledger."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._ledger = ledger
        self._clock = clock
        self._pictures = Pictures(config.api)
        self._prompts = Prompts(config.api)
        self._cards = Kept(self._ask_cards, _KEEP_S)

    def cards(self) -> list[ModelCard]:
        """The served models; none until a sampler has loaded one."""
        return self._cards()

    def _ask_cards(self) -> list[ModelCard]:
        return [ModelCard.model_validate(card) for card in self._ledger.model_cards()]

    def accept(
        self,
        owner: str,
        request: CreateVideo,
        file: bytes | None = None,
        idempotency_key: str | None = None,
        kind: Kind = Kind.VIDEO,
    ) -> list[Job]:
        """The jobs of a request, one a video, in the ledger; ApiError that names what is wrong.

        ``file`` is the first frame where it came as one.
        """
        card = self._card(request.model)
        limits = self._config.api
        if len(request.prompt) > limits.max_prompt_chars:
            message = f"the prompt has {len(request.prompt)} characters: at most {limits.max_prompt_chars}"
            raise refused("prompt", message)
        if request.n > limits.max_outputs:
            raise refused("n", f"n = {request.n}: at most {limits.max_outputs}")
        planned = plan(request, card, limits)
        picture = self._pictures.read(file, request.input_reference)
        if picture is not None and "image" not in card.inputs:
            message = f"model {card.id!r} starts from text alone: leave the picture out"
            raise refused("input_reference", message, "unsupported")
        check_queue(self._ledger, limits, owner, request.n, planned)
        revised = self._prompts.revised(request.prompt, request.enhance_prompt)
        new = self._jobs(owner, request, planned, card, kind, revised, with_picture=picture is not None)
        charges = charges_of(limits.limits_of(owner), request.n * planned.num_frames / planned.fps)
        return self._put(new, picture, _once(idempotency_key, request, picture), charges)

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

    def _jobs(
        self,
        owner: str,
        request: CreateVideo,
        planned: Plan,
        card: ModelCard,
        kind: Kind,
        revised: str | None,
        *,
        with_picture: bool,
    ) -> list[NewJob]:
        now, limits = self._clock(), self._config.api
        deadline_at = now + self._config.deadline_s if self._config.deadline_s else None
        seed = secrets.randbits(32) if request.seed is None else request.seed
        jobs = []
        for index in range(request.n):
            job_id = new_id(now, kind)
            picture = input_file(self._config.output, job_id) if with_picture else None
            jobs.append(
                NewJob(
                    id=job_id,
                    owner=owner,
                    model=card.id,
                    params=_params(request, revised, planned, (seed + index) % 2**63, picture),
                    tokens=planned.batch_tokens,
                    num_steps=planned.num_steps,
                    priority=request.priority,
                    queued_as=now - request.priority * limits.priority_boost_s,
                    expires_at=now + limits.image_lifetime_s if kind is Kind.IMAGE else None,
                    deadline_at=deadline_at,
                )
            )
        return jobs

    def _put(
        self, new: list[NewJob], picture: bytes | None, once: Idempotency | None, charges: Sequence[Charge]
    ) -> list[Job]:
        """Store the pictures first: a sampler may have the job the moment after it is in the ledger."""
        if picture is not None:
            for job in new:
                storage.write_bytes(job.params["input"], picture)
        try:
            made = self._ledger.create(new, once, charges)
        except OverRate as error:
            self._discard(new)
            raise over_rate(error) from error
        except IdempotencyConflict as error:
            self._discard(new)
            headers = {"x-should-retry": "false"}
            raise ApiError(409, str(error), code="idempotency_conflict", headers=headers) from error
        if made and made[0].id != new[0].id:
            self._discard(new)
        return made

    def _discard(self, new: list[NewJob]) -> None:
        """Remove the pictures of jobs that did not come to be."""
        for job in new:
            if job.params["input"]:
                storage.delete_prefix(job_folder(self._config.output, job.id))


def _params(request: CreateVideo, revised: str | None, planned: Plan, seed: int, picture: str | None) -> dict[str, Any]:
    """What a sampler needs to know of a job."""
    return {
        "prompt": request.prompt,
        "revised_prompt": revised,
        "negative_prompt": request.negative_prompt,
        "num_frames": planned.num_frames,
        "height": planned.height,
        "width": planned.width,
        "fps": planned.fps,
        "seconds": planned.seconds,
        "guidance_scale": planned.guidance_scale,
        "seed": seed,
        "input": picture,
    }


def _once(key: str | None, request: CreateVideo, picture: bytes | None) -> Idempotency | None:
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_CHARS:
        raise refused("Idempotency-Key", f"an idempotency key has 1 to {_MAX_KEY_CHARS} characters")
    values: dict[str, Any] = request.model_dump(mode="json", exclude={"input_reference"})
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(hashlib.sha256(picture or b"").digest())
    return Idempotency(key, digest.hexdigest())
