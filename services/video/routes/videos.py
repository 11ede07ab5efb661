"""The routes of videos as jobs: create, list, retrieve, cancel, delete."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from services.video.housekeeping import remove
from services.video.intake.pictures import REFERENCE
from services.video.job import OPEN, VIDEO_ID, Job, Status
from services.video.ledger.tables import LedgerUnavailable
from services.video.routes.access import Owner, OwnJob, Service, TheService, found, keyed_router
from services.video.routes.forms import Uploads, read_body
from services.video.routes.parameters import body_schema, parse
from services.video.schemas import CreateVideo, DeletedVideo, Video, VideoList

_POLL_MS = (500, 1000, 5000)  # shortest, when nothing is known, longest
_POLLS_A_WAIT = 20
_FILES = (REFERENCE,)

router = keyed_router("/videos")


@router.post("", openapi_extra=body_schema(CreateVideo, files=_FILES))
async def create_video(
    request: Request,
    response: Response,
    service: TheService,
    owner: Owner,
    uploads: Uploads,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Video:
    """Accept a video for generation; with ``n`` above one the answer is the first and names the others."""
    body = await read_body(request, service.config.api.max_upload_bytes, uploads, may_be_files=_FILES)
    wish = parse(CreateVideo, body, files=_FILES)
    return await accepted(service, response, partial(service.intake.accept, owner, wish, body.files, idempotency_key))


async def accepted(service: Service, response: Response, accept: Callable[[], list[Job]]) -> Video:
    """The first video of a request, which names the others, once they are in the ledger."""

    def accept_and_advise() -> list[Job]:
        made = accept()
        _advise(service, made[0], response)
        return made

    jobs = await run_in_threadpool(accept_and_advise)
    return Video.of(jobs[0]).model_copy(update={"siblings": [job.id for job in jobs[1:]]})


@router.get("")
def list_videos(
    service: TheService,
    owner: Owner,
    after: Annotated[str | None, Query(pattern=VIDEO_ID.pattern)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> VideoList:
    """The key's videos, a page at a time."""
    page = service.ledger.page(owner, after=after, limit=limit, newest_first=order == "desc")
    videos = [Video.of(job) for job in page.jobs]
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoList(data=videos, has_more=page.has_more, first_id=first, last_id=last)


@router.get("/{video_id}")
def retrieve_video(job: OwnJob, service: TheService, response: Response) -> Video:
    """A video's state; a failed one is an answer with status 200 and its error."""
    _advise(service, job, response)
    return Video.of(job)


@router.delete("/{video_id}")
def delete_video(job: OwnJob, service: TheService) -> DeletedVideo:
    """Remove a video; one in progress is stopped at its next step."""
    gone = found(service.ledger.delete(job.id, job.owner), job.id)
    if gone.status is not Status.IN_PROGRESS:
        remove(service.ledger, service.config.output, job.id)
    return DeletedVideo(id=job.id)


@router.post("/{video_id}/cancel")
def cancel_video(job: OwnJob, service: TheService) -> Video:
    """Stop a video: it ends as failed with the code ``cancelled``; a finished one stays as it is."""
    return Video.of(found(service.ledger.cancel(job.id, job.owner), job.id))


def _advise(service: Service, job: Job, response: Response) -> None:
    """Tell a polling client how long to wait between two looks. It is a hint, and costs no answer its success."""
    if job.status not in OPEN:
        return
    shortest, unknown, longest = _POLL_MS
    try:
        wait_s = service.backlog(job.model).wait_s
    except LedgerUnavailable:
        wait_s = None
    pause = unknown if wait_s is None else max(shortest, min(longest, round(1000 * wait_s / _POLLS_A_WAIT)))
    response.headers["openai-poll-after-ms"] = str(pause)
