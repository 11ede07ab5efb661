"""The local gate as a service of its own, in the shape of OpenAI's moderations."""

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from services.video.errors import refused
from services.video.intake.pictures import Pictures
from services.video.limits import DataUrl, ModelName
from services.video.moderation.setup import picture_judge, text_judge
from services.video.routes.access import Owner, Service, TheService, keyed_router
from services.video.routes.forms import Body, read_body
from services.video.routes.parameters import body_schema, parse
from services.video.schemas import ImageReference
from sora_core.safety.gate.verdict import CATEGORIES, Finding, Picture, Shown, Stage

_MODEL = "sora-on-ray-gate"
_MOST_INPUTS = 32
Kind = Literal["text", "image"]
_TEXT: tuple[Kind, ...] = ("text",)
_IMAGE: tuple[Kind, ...] = ("image",)
Said = Annotated[str, Field(max_length=100_000)]

router = keyed_router()


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: Said


class PictureUrl(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: DataUrl = Field(description="a data URL, or another where the service fetches those")


class PicturePart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["image_url"]
    image_url: PictureUrl


class CreateModeration(BaseModel):
    """The body of ``POST /v1/moderations``: a text, several that are judged one by one, or parts that are judged
    together."""

    model_config = ConfigDict(extra="forbid")

    input: (
        Said
        | Annotated[list[Said], Field(min_length=1, max_length=_MOST_INPUTS)]
        | Annotated[list[TextPart | PicturePart], Field(min_length=1, max_length=_MOST_INPUTS)]
    )
    model: ModelName | None = Field(default=None, description="accepted, and not used")


class ModerationResult(BaseModel):
    """``flagged`` is what the local gate would refuse; scores are from 0 to 1."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Kind]]


class Moderation(BaseModel):
    id: str
    model: str
    results: list[ModerationResult]


@router.post("/moderations", openapi_extra=body_schema(CreateModeration))
async def create_moderation(request: Request, service: TheService, owner: Owner) -> Moderation:
    """What the local gate says of texts and pictures; it keeps nothing of them."""
    body = await read_body(request, service.config.api, service.config.api.max_upload_bytes)
    said = body.values.get("input")
    if isinstance(said, str):  # a text that begins like a list is a text
        body = Body({**body.values, "input": [said]}, body.files)
    asked = parse(CreateModeration, body)
    results = await service.turns.run(owner, partial(_results, service, asked))
    return Moderation(id=f"modr-{secrets.token_hex(12)}", model=_MODEL, results=results)


def _results(service: Service, asked: CreateModeration) -> list[ModerationResult]:
    if isinstance(asked.input, str):
        return [_judged(service, [asked.input], [])]
    texts = [one for one in asked.input if isinstance(one, str)]
    if texts:
        return [_judged(service, [text], []) for text in texts]
    said = [one.text for one in asked.input if isinstance(one, TextPart)]
    urls = [one.image_url.url for one in asked.input if isinstance(one, PicturePart)]
    return [_judged(service, said, [_picture(service, url) for url in urls])]


def _picture(service: Service, url: str) -> Picture:
    read = Pictures(service.config.api, service.intake.decoders).read(None, ImageReference(image_url=url), "input")
    assert read is not None
    return read


def _judged(service: Service, texts: Sequence[str], pictures: Sequence[Picture]) -> ModerationResult:
    settings, most = service.config.moderation, service.config.api.max_prompt_chars
    words, looks = text_judge(settings) if settings.text else None, picture_judge(settings)
    scores = dict.fromkeys(CATEGORIES, 0.0)
    found: list[Finding] = []
    if words is not None:
        for text in texts:
            if len(text) > most:
                raise refused("input", f"{len(text)} characters: at most {most}", "too_long")
            found += words.judge(Shown(Stage.PROMPT, text)).findings
            scores = {name: max(score, scores[name]) for name, score in words.scores(text).items()}
    if looks is not None and pictures:
        found += looks.judge(Shown(Stage.INPUT, images=pictures)).findings
        scores["sexual"] = max(scores["sexual"], *(looks.score(picture) for picture in pictures))
    refuses_unsure = settings.when_unsure == "refuse"
    named = {finding.category for finding in found if finding.sure or refuses_unsure}
    return ModerationResult(
        flagged=bool(named),
        categories={name: name in named for name in CATEGORIES},
        category_scores=scores,
        category_applied_input_types={
            name: [*(_TEXT if texts else ()), *(_IMAGE if pictures and name == "sexual" else ())] for name in CATEGORIES
        },
    )
