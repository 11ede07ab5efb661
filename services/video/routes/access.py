"""Who asks: the key of a request, its owner, and the owner's jobs."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CollectorRegistry

from services.video.config import ServiceConfig, hash_key
from services.video.errors import ApiError
from services.video.intake.intake import Intake
from services.video.job import VIDEO_ID, Backlog, Job
from services.video.kept import KeptEach
from services.video.ledger import Ledger
from services.video.schemas import ErrorBody


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with."""

    config: ServiceConfig
    ledger: Ledger
    intake: Intake
    registry: CollectorRegistry
    owners: dict[str, str]  # by the hash of the key
    backlog: KeptEach[Backlog]  # of a model, for hints, not for decisions


async def service_of(request: Request) -> Service:
    """The service that an application was made with."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]
_bearer = HTTPBearer(auto_error=False, description="an API key of the service")


async def owner_of(
    service: TheService, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """The owner whose key came with the request."""
    owner = service.owners.get(hash_key(credentials.credentials)) if credentials else None
    if owner is None:
        message = "no valid API key: send the header 'Authorization: Bearer KEY'"
        headers = {"www-authenticate": "Bearer"}
        raise ApiError(401, message, code="invalid_api_key", kind="authentication_error", headers=headers)
    return owner


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
