"""The routes of videos as jobs: create, list, retrieve, cancel, delete."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from services.video.housekeeping import remove
from services.video.intake.pictures import REFERENCE
from services.video.job import OPEN, VIDEO_ID, Job, Status
from services.video.ledger.tables import LedgerUnavailable
from services.video.limits import IdempotencyKey
from services.video.routes.access import Owner, OwnJob, Service, TheCaller, TheService, found, keyed_router
from services.video.routes.forms import Uploads, read_body
from services.video.routes.links import Links, Shown
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
    caller: TheCaller,
    uploads: Uploads,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Accept a video for generation; with ``n`` above one the answer is the first and names the others."""
    body = await read_body(
        request, service.config.api, service.config.api.max_upload_bytes, uploads, may_be_files=_FILES
    )
    wish = parse(CreateVideo, body, files=_FILES)
    accept = partial(service.intake.accept, caller.owner, wish, body.files, idempotency_key, key_id=caller.key_id)
    return await accepted(links, response, caller.owner, accept, wish.ignored)


async def accepted(
    links: Links, response: Response, owner: str, accept: Callable[[], list[Job]], ignored: Sequence[str] = ()
) -> Video:
    """The first video of a request, which names the others, once they are in the ledger."""
    tell_ignored(response, ignored)

    def accept_and_advise() -> Video:
        made = accept()
        _advise(links.service, made[0], response)
        return links.video(made[0]).model_copy(update={"siblings": [job.id for job in made[1:]]})

    return await links.service.turns.run(owner, accept_and_advise)


@router.get("")
def list_videos(
    service: TheService,
    owner: Owner,
    links: Shown,
    after: Annotated[str | None, Query(pattern=VIDEO_ID.pattern)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> VideoList:
    """The key's videos, a page at a time."""
    page = service.ledger.page(owner, after=after, limit=limit, newest_first=order == "desc")
    videos = [links.video(job) for job in page.jobs]
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoList(data=videos, has_more=page.has_more, first_id=first, last_id=last)


@router.get("/{video_id}")
def retrieve_video(job: OwnJob, links: Shown, response: Response) -> Video:
    """A video's state; a failed one is an answer with status 200 and its error."""
    _advise(links.service, job, response)
    return links.video(job)


@router.delete("/{video_id}")
def delete_video(job: OwnJob, service: TheService) -> DeletedVideo:
    """Remove a video; one in progress is stopped at its next step."""
    gone = found(service.ledger.delete(job.id, job.owner), job.id)
    if gone.status is not Status.IN_PROGRESS:
        remove(service.ledger, service.config.output, job.id)
    return DeletedVideo(id=job.id)


@router.post("/{video_id}/cancel")
def cancel_video(job: OwnJob, links: Shown) -> Video:
    """Stop a video: it ends as failed with the code ``cancelled``; a finished one stays as it is."""
    return links.video(found(links.service.ledger.cancel(job.id, job.owner), job.id))


def tell_ignored(response: Response, ignored: Sequence[str]) -> None:
    """Name what was accepted although it changes nothing here."""
    if ignored:
        response.headers["x-ignored-parameters"] = ", ".join(ignored)


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
