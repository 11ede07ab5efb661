"""Who asks: the key of a request, its owner, and the owner's jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.video.accounts.keys import Caller, Keyring, Scope
from services.video.cached import Cached, CachedEach
from services.video.config import ServiceConfig
from services.video.errors import ApiError
from services.video.intake.intake import Intake
from services.video.job import VIDEO_ID, Backlog, Job
from services.video.ledger import Ledger
from services.video.ledger.line import Line
from services.video.routes.turns import Turns
from services.video.routes.watch import Watch
from services.video.schemas import ErrorBody


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with."""

    config: ServiceConfig
    ledger: Ledger
    intake: Intake
    numbers: Cached[bytes]  # for Prometheus
    keyring: Keyring
    backlog: CachedEach[Backlog]  # of a model, for hints, not for decisions
    line: Cached[Line]  # likewise
    turns: Turns
    watch: Watch


async def service_of(request: Request) -> Service:
    """The service that an application was made with."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]
REDEEM = "/redeem"
_OWN_SCOPES: Mapping[str, Scope] = MappingProxyType(
    {
        "/v1/admin/": Scope.ADMIN,
        "/v1/footage": Scope.DATA,
        "/v1/training": Scope.DATA,
        f"/v1/sign_ins{REDEEM}": Scope.SIGN_IN,
    }
)
_bearer = HTTPBearer(auto_error=False, description="an API key of the service")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def caller_of(request: Request, service: TheService, credentials: Credentials) -> Caller:
    """Who has the key that came with the request. ApiError 401 for none, 403 for one that is not for this."""
    caller = await _identified(service, credentials.credentials) if credentials else None
    if caller is None:
        message = "no valid API key: send the header 'Authorization: Bearer KEY'"
        headers = {"www-authenticate": "Bearer"}
        raise ApiError(401, message, code="invalid_api_key", kind="authentication_error", headers=headers)
    needed = _needed(request)
    if needed not in caller.scopes:
        message = f"this key is for {', '.join(sorted(caller.scopes))}: {request.method} here needs {needed}"
        raise ApiError(403, message, code="insufficient_scope", kind="permission_error")
    return caller


def _needed(request: Request) -> Scope:
    path = getattr(request.scope.get("route"), "path", "")
    own = next((scope for prefix, scope in _OWN_SCOPES.items() if path.startswith(prefix)), None)
    return own or (Scope.READ if request.method in ("GET", "HEAD") else Scope.MAKE)


async def _identified(service: Service, secret: str) -> Caller | None:
    known, caller = service.keyring.known(secret)
    return caller if known else await run_in_threadpool(service.keyring.ask, secret)


TheCaller = Annotated[Caller, Depends(caller_of)]


async def owner_of(caller: TheCaller) -> str:
    """The owner whose key came with the request."""
    return caller.owner


Owner = Annotated[str, Depends(owner_of)]
ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
"""What every route may answer beside its success."""


def keyed_router(prefix: str = "", *, in_schema: bool = True) -> APIRouter:
    """Routes under /v1 for which a key is needed. Their paths are whole, as the metrics name them."""
    keyed = [Depends(owner_of)]
    return APIRouter(prefix=f"/v1{prefix}", responses=ERRORS, dependencies=keyed, include_in_schema=in_schema)


def found(job: Job | None, video_id: str) -> Job:
    """The job; ApiError 404 when there is none that the caller may see."""
    if job is None:
        raise ApiError(404, f"no video {video_id!r}: it never was, was deleted, or is another key's", code="not_found")
    return job


def own_job(video_id: str, service: TheService, owner: Owner) -> Job:
    """The owner's video by its id; ApiError 404 when there is none."""
    known = VIDEO_ID.fullmatch(video_id) is not None
    return found(service.ledger.get(video_id, owner) if known else None, video_id)


OwnJob = Annotated[Job, Depends(own_job)]
"""The caller's video that the path names."""
