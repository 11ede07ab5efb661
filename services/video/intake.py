"""From a request's parameters to accepted jobs: everything that can be refused is refused here, before any work."""

import base64
import binascii
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from services.video.config import ServiceConfig
from services.video.errors import ApiError, refused, unavailable
from services.video.files import input_file, job_folder
from services.video.forms import Body
from services.video.job import Idempotency, IdempotencyConflict, Job, NewJob, new_id
from services.video.ledger import Ledger
from services.video.schemas import CreateVideo, ModelCard
from services.video.sizing import Plan, plan
from sora_core import media, storage
from sora_core.errors import UnreadableMedia

_REFERENCE = "input_reference"
_LONGEST_RETRY_S = 60  # clients give up at once when told to wait longer than two minutes
_MAX_KEY_CHARS = 255


class Intake:
    """Accepts requests of known owners into the ledger."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._ledger = ledger
        self._clock = clock

    def cards(self) -> list[ModelCard]:
        """The served models; none until a sampler has loaded one."""
        return [ModelCard.model_validate(card) for card in self._ledger.model_cards()]

    def accept(self, owner: str, body: Body, idempotency_key: str | None = None) -> list[Job]:
        """The jobs of a request, one a video, in the ledger; ApiError that names what is wrong."""
        request = parse(body)
        card = self._card(request.model)
        if len(request.prompt) > self._config.api.max_prompt_chars:
            raise refused("prompt", f"the prompt has {len(request.prompt)} characters: at most {self._limit_chars}")
        if request.n > self._config.api.max_outputs:
            raise refused("n", f"n = {request.n}: at most {self._config.api.max_outputs}")
        planned = plan(request, card, self._config.api)
        picture = self._picture(request, body)
        if picture is not None and "image" not in card.inputs:
            raise refused(_REFERENCE, f"model {card.id!r} starts from text alone: leave the picture out", "unsupported")
        self._check_queue(owner, request.n)
        new = self._jobs(owner, request, planned, card, with_picture=picture is not None)
        return self._put(new, picture, _once(idempotency_key, request, picture))

    @property
    def _limit_chars(self) -> int:
        return self._config.api.max_prompt_chars

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

    def _check_queue(self, owner: str, count: int) -> None:
        """429 while the queue is full, with the time until it moves."""
        limits = self._config.api
        for whose, most in ((owner, limits.max_waiting_per_key), (None, limits.max_waiting)):
            backlog = self._ledger.backlog(whose)
            waiting = backlog.waiting
            if waiting + count <= most:
                continue
            wait_s = max(1, min(_LONGEST_RETRY_S, round(backlog.wait_s or _LONGEST_RETRY_S)))
            raise ApiError(
                429,
                f"{waiting} {'of your ' if whose else ''}videos wait already, the limit is {most}: try again later",
                code="queue_full",
                kind="rate_limit_error",
                headers={"retry-after": str(wait_s)},
            )

    def _jobs(
        self, owner: str, request: CreateVideo, planned: Plan, card: ModelCard, *, with_picture: bool
    ) -> list[NewJob]:
        now = self._clock()
        seed = secrets.randbits(32) if request.seed is None else request.seed
        jobs = []
        for index in range(request.n):
            job_id = new_id(now)
            params = {
                "prompt": request.prompt,
                "negative_prompt": request.negative_prompt,
                "num_frames": planned.num_frames,
                "height": planned.height,
                "width": planned.width,
                "fps": planned.fps,
                "seconds": planned.seconds,
                "guidance_scale": planned.guidance_scale,
                "seed": (seed + index) % 2**63,
                "input": input_file(self._config.output, job_id) if with_picture else None,
            }
            jobs.append(
                NewJob(
                    id=job_id,
                    owner=owner,
                    model=card.id,
                    params=params,
                    tokens=planned.batch_tokens,
                    num_steps=planned.num_steps,
                    priority=request.priority,
                    queued_as=now - request.priority * self._config.api.priority_boost_s,
                )
            )
        return jobs

    def _put(self, new: list[NewJob], picture: bytes | None, once: Idempotency | None) -> list[Job]:
        """Store the pictures first: a sampler may have the job the moment after it is in the ledger."""
        if picture is not None:
            for job in new:
                storage.write_bytes(job.params["input"], picture)
        try:
            made = self._ledger.create(new, once)
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

    def _picture(self, request: CreateVideo, body: Body) -> bytes | None:
        """The first frame's picture, decoded once to know that it can be."""
        if _REFERENCE in body.files:
            data = body.files[_REFERENCE]
        elif request.input_reference is not None:
            data = _from_data_url(request.input_reference.image_url)
        else:
            return None
        limits = self._config.api
        if len(data) > limits.max_upload_bytes:
            raise refused(_REFERENCE, f"{len(data)} bytes: at most {limits.max_upload_bytes}", "too_large")
        try:
            with Image.open(BytesIO(data)) as header:
                pixels = header.width * header.height
            if pixels > limits.max_image_pixels:
                raise refused(_REFERENCE, f"{pixels} pixels: at most {limits.max_image_pixels}", "too_large")
            media.decode_image(data)
        except (UnidentifiedImageError, Image.DecompressionBombError, UnreadableMedia, OSError) as error:
            message = f"not a picture that can be read ({error}): send a JPEG, PNG or WebP"
            raise refused(_REFERENCE, message, "invalid_image") from error
        return data


def parse(body: Body) -> CreateVideo:
    """The request as typed values; ApiError 400 that names the first parameter that is unknown or wrong."""
    for name in body.files:
        if name != _REFERENCE:
            raise _unknown(name)
        if name in body.values:
            raise refused(name, f"parameter {name!r} is given twice: give it once")
    try:
        return CreateVideo.model_validate(body.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise _unknown(param) from error
        if first["type"] == "missing":
            raise refused(param, f"parameter {param!r} is required", "missing_parameter") from error
        raise refused(param, f"{param}: {first['msg']}") from error


def _unknown(name: str) -> ApiError:
    known = ", ".join(CreateVideo.model_fields)
    return refused(name, f"unknown parameter {name!r}: the parameters are {known}", "unknown_parameter")


def _from_data_url(url: str) -> bytes:
    """The bytes of a ``data:`` URL; other URLs are not fetched, because a server must not read what a client names."""
    head, comma, payload = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise refused(_REFERENCE, "image_url must be a data URL (data:image/png;base64,...): URLs are not fetched")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused(_REFERENCE, f"image_url: the base64 is damaged ({error})") from error


def _once(key: str | None, request: CreateVideo, picture: bytes | None) -> Idempotency | None:
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_CHARS:
        raise refused("Idempotency-Key", f"an idempotency key has 1 to {_MAX_KEY_CHARS} characters")
    values: dict[str, Any] = request.model_dump(mode="json", exclude={"input_reference"})
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    digest.update(hashlib.sha256(picture or b"").digest())
    return Idempotency(key, digest.hexdigest())
