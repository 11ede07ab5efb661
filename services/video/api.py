"""The HTTP side: the OpenAI Videos API and its extensions. It holds no state: any replica answers for any job."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from services.video import asgi, ranges
from services.video.config import ServiceConfig, hash_key
from services.video.errors import ApiError
from services.video.files import CONTENT_TYPES, FILE_NAMES
from services.video.forms import read_body
from services.video.housekeeping import remove
from services.video.intake import Intake
from services.video.job import ID_PATTERN, OPEN, Job, Status
from services.video.ledger import Ledger
from services.video.metrics import LedgerCollector
from services.video.schemas import (
    CreateVideo,
    DeletedVideo,
    ErrorBody,
    Model,
    ModelCardList,
    ModelList,
    Video,
    VideoList,
)
from sora_core import storage
from sora_core.errors import MissingObject

_POLL_MS = (500, 1000, 5000)  # shortest, when nothing is known, longest
_POLLS_A_WAIT = 20


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with."""

    config: ServiceConfig
    ledger: Ledger
    intake: Intake
    registry: CollectorRegistry
    owners: dict[str, str]  # by the hash of the key


def create_app(
    config: ServiceConfig,
    ledger: Ledger | None = None,
    registry: CollectorRegistry | None = None,
    *,
    named_by_proxy: bool = False,
) -> FastAPI:
    """The ASGI application. ``registry`` holds further metrics for ``/metrics``; the ledger's own join it."""
    ledger = ledger or Ledger.open(config.ledger)
    registry = registry or CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    owners = {digest: owner for owner, digest in config.api.keys.items()}
    app = FastAPI(title="Sora on Ray", summary="Videos from text and images", docs_url="/docs", redoc_url=None)
    app.state.service = Service(config, ledger, Intake(config, ledger), registry, owners)
    app.include_router(router)
    app.include_router(open_router)
    asgi.install(app, named_by_proxy=named_by_proxy)
    return app


# --- who asks


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="an API key of the service")


def _owner(service: TheService, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """The owner whose key came with the request."""
    owner = service.owners.get(hash_key(credentials.credentials)) if credentials else None
    if owner is None:
        message = "no valid API key: send the header 'Authorization: Bearer KEY'"
        headers = {"www-authenticate": "Bearer"}
        raise ApiError(401, message, code="invalid_api_key", kind="authentication_error", headers=headers)
    return owner


Owner = Annotated[str, Depends(_owner)]
_errors: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
router = APIRouter(prefix="/v1", responses=_errors, dependencies=[Depends(_owner)])
open_router = APIRouter()


def _found(job: Job | None, video_id: str) -> Job:
    if job is None:
        raise ApiError(404, f"no video {video_id!r}: it never was, was deleted, or is another key's", code="not_found")
    return job


def _own_job(video_id: str, service: TheService, owner: Owner) -> Job:
    """The caller's job of that id."""
    known = ID_PATTERN.fullmatch(video_id) is not None
    return _found(service.ledger.get(video_id, owner) if known else None, video_id)


OwnJob = Annotated[Job, Depends(_own_job)]

# --- jobs

_create_schema = CreateVideo.model_json_schema()
_form_schema = {
    **_create_schema,
    "properties": {
        **_create_schema["properties"],
        "input_reference": {"type": "string", "format": "binary", "description": "the first frame"},
    },
}
_create_body = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form_schema},
            "application/json": {"schema": _create_schema},
        },
    }
}


@router.post("/videos", openapi_extra=_create_body)
async def create_video(
    request: Request,
    response: Response,
    service: TheService,
    owner: Owner,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Video:
    """Accept a video for generation; with ``n`` above one the answer is the first and names the others."""
    body = await read_body(request, service.config.api.max_upload_bytes)
    jobs = await run_in_threadpool(service.intake.accept, owner, body, idempotency_key)
    await run_in_threadpool(_advise, service, jobs[0], response)
    return Video.of(jobs[0]).model_copy(update={"siblings": [job.id for job in jobs[1:]]})


@router.get("/videos")
def list_videos(
    service: TheService,
    owner: Owner,
    after: Annotated[str | None, Query(pattern=ID_PATTERN.pattern)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> VideoList:
    """The key's videos, a page at a time."""
    page = service.ledger.page(owner, after=after, limit=limit, newest_first=order == "desc")
    videos = [Video.of(job) for job in page.jobs]
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoList(data=videos, has_more=page.has_more, first_id=first, last_id=last)


@router.get("/videos/models")
def list_capabilities(service: TheService) -> ModelCardList:
    """What the served models can do: sizes, lengths, inputs, defaults."""
    return ModelCardList(data=service.intake.cards())


@router.get("/videos/{video_id}")
def retrieve_video(job: OwnJob, service: TheService, response: Response) -> Video:
    """A video's state; a failed one is an answer with status 200 and its error."""
    _advise(service, job, response)
    return Video.of(job)


@router.delete("/videos/{video_id}")
def delete_video(job: OwnJob, service: TheService) -> DeletedVideo:
    """Remove a video; one in progress is stopped at its next step."""
    gone = _found(service.ledger.delete(job.id, job.owner), job.id)
    if gone.status is not Status.IN_PROGRESS:
        remove(service.ledger, service.config.output, job.id)
    return DeletedVideo(id=job.id)


@router.post("/videos/{video_id}/cancel")
def cancel_video(job: OwnJob, service: TheService) -> Video:
    """Stop a video: it ends as failed with the code ``cancelled``; a finished one stays as it is."""
    return Video.of(_found(service.ledger.cancel(job.id, job.owner), job.id))


def _advise(service: Service, job: Job, response: Response) -> None:
    """Tell a polling client how long to wait between two looks."""
    if job.status not in OPEN:
        return
    shortest, unknown, longest = _POLL_MS
    wait_s = service.ledger.backlog().wait_s
    pause = unknown if wait_s is None else max(shortest, min(longest, round(1000 * wait_s / _POLLS_A_WAIT)))
    response.headers["openai-poll-after-ms"] = str(pause)


# --- files

Variant = Annotated[Literal["video", "thumbnail", "spritesheet"], Query()]
_file_answer: dict[int | str, dict[str, Any]] = {
    status: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()}}
    for status in (200, 206)
}


@router.get("/videos/{video_id}/content", response_class=StreamingResponse, responses=_file_answer)
def download_video(request: Request, job: OwnJob, variant: Variant = "video") -> Response:
    """A file of a completed video, whole or a range of its bytes."""
    stored, headers = _stored(job, variant)
    span = (
        None
        if _other_version(request, headers["etag"])
        else ranges.parse_range(request.headers.get("range"), stored["bytes"])
    )
    start, end = span or (0, stored["bytes"])
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{stored['bytes']}"
    headers["content-length"] = str(end - start)
    try:
        file = storage.open_input(stored["uri"])
    except MissingObject as error:
        raise ApiError(404, f"the {variant} of {job.id} is not in the storage any more", code="not_found") from error
    body = ranges.chunks(file, start, end)
    return StreamingResponse(body, 206 if span else 200, headers, CONTENT_TYPES[variant])


@router.head("/videos/{video_id}/content", include_in_schema=False)
def describe_content(job: OwnJob, variant: Variant = "video") -> Response:
    """The headers of a download."""
    stored, headers = _stored(job, variant)
    return Response(headers=headers | {"content-length": str(stored["bytes"])}, media_type=CONTENT_TYPES[variant])


def _stored(job: Job, variant: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Where a completed job's file is, and the headers that describe it."""
    if job.result is None:
        why = f"failed: {job.error_message}" if job.status is Status.FAILED else f"is {job.status}, not completed"
        code = "video_failed" if job.status is Status.FAILED else "video_not_ready"
        raise ApiError(404, f"{job.id} {why}", code=code)
    headers = {
        "accept-ranges": "bytes",
        "etag": f'"{job.id}-{job.attempts}-{variant}"',
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": f'inline; filename="{job.id}-{FILE_NAMES[variant]}"',
    }
    return job.result[variant], headers


def _other_version(request: Request, etag: str) -> bool:
    """Whether the range is asked of a version that isn't this one."""
    return request.headers.get("if-range", etag) != etag


# --- models and metrics


@router.get("/models")
def list_models(service: TheService) -> ModelList:
    """The served models by name."""
    return ModelList(data=[Model(id=card.id, created=card.created) for card in service.intake.cards()])


@router.get("/models/{model}")
def retrieve_model(model: str, service: TheService) -> Model:
    """One served model."""
    for card in service.intake.cards():
        if card.id == model:
            return Model(id=card.id, created=card.created)
    raise ApiError(404, f"model {model!r} is not served here", code="model_not_found")


@open_router.get("/metrics", include_in_schema=False)
def metrics(service: TheService) -> Response:
    """Numbers for Prometheus, without a key."""
    return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)
