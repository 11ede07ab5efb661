"""The route of a video's files: whole, in ranges of bytes, or their headers alone."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.video.errors import ApiError
from services.video.files import CONTENT_TYPES, FILE_NAMES
from services.video.job import Job, Status
from services.video.routes import ranges
from services.video.routes.access import ERRORS
from services.video.routes.links import ShownJob
from sora_core import storage
from sora_core.errors import MissingObject

Variant = Annotated[Literal["video", "thumbnail", "spritesheet"], Query()]
_answers: dict[int | str, dict[str, Any]] = {
    status: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES.values()}}
    for status in (200, 206)
}
_answers[304] = {"description": "the client has this version already"}
router = APIRouter(prefix="/v1/videos/{video_id}/content", responses=ERRORS)


@router.get("", response_class=StreamingResponse, responses=_answers)
def download_video(request: Request, job: ShownJob, variant: Variant = "video") -> Response:
    """A file of a completed video, whole or a range of its bytes; with a key, or by a link that the video tells."""
    stored, headers = _stored(job, variant)
    if _is_known(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
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


@router.head("", include_in_schema=False)
def describe_content(request: Request, job: ShownJob, variant: Variant = "video") -> Response:
    """The headers of a download."""
    stored, headers = _stored(job, variant)
    if _is_known(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
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


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has this very version."""
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return etag in known or "*" in known


def _other_version(request: Request, etag: str) -> bool:
    """Whether the range is asked of a version that isn't this one."""
    return request.headers.get("if-range", etag) != etag
