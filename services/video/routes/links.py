"""Addresses of files that need no key: a signature stands for it, for a while. A browser can play and seek them."""

import hashlib
import hmac
import math
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from services.video.errors import ApiError
from services.video.files import VARIANTS
from services.video.job import Job, Kind, Status
from services.video.ledger.line import Place
from services.video.ledger.tables import LedgerUnavailable
from services.video.limits import LARGEST_INT
from services.video.routes.access import Credentials, Service, TheService, caller_of, own_job
from services.video.schemas import Video, VideoLinks


@dataclass(frozen=True, slots=True)
class Links:
    """What this service can be reached by, as the client sees it, and the addresses below."""

    service: Service
    base: str

    def video(self, job: Job) -> Video:
        """A video as its owner is told of it: with links, once it is completed."""
        video = Video.of(job)
        if job.is_open:
            return video.model_copy(update=self._outlook(job))
        if job.result is None or job.kind is not Kind.VIDEO:
            return video
        until = self._until()
        if job.expires_at is not None:
            until = min(until, int(job.expires_at))
        query = f"expires={until}&signature={signature(self.service, job, until)}"
        path = f"{self.base}/v1/videos/{job.id}/content"
        addresses = {variant: f"{path}?variant={variant}&{query}" for variant in VARIANTS[job.kind]}
        return video.model_copy(update={"links": VideoLinks(**addresses, expires_at=until)})

    def _outlook(self, job: Job) -> dict[str, int | None]:
        """Where an open job stands and when it should be done. It is a hint, and costs no answer its success."""
        try:
            line, backlog = self.service.line(), self.service.backlog(job.model)
        except LedgerUnavailable:
            return {}
        known = line.places.get(job.id)
        place = known or line.ends.get(job.model) or Place(1, 0.0, 0.0)
        own = (0.0, 0.0) if known else (job.tokens * job.num_steps, job.tokens)  # it came later than what is known
        wait_s = replace(backlog, token_steps=place.token_steps, tokens=place.tokens).wait_with(*own)
        return {
            "queue_position": place.position if job.status is Status.QUEUED else None,
            "predicted_end_at": None if wait_s is None else math.ceil(self.service.ledger.now() + wait_s),
        }

    def _until(self) -> int:
        """The end of the next half of a lifetime: a link stays the same for so long, so that browsers keep its file."""
        half_s = self.service.config.api.link_lifetime_s / 2
        return int((self.service.ledger.now() // half_s + 2) * half_s)


async def _links_of(request: Request, service: TheService) -> Links:
    return Links(service, (service.config.api.public_url or str(request.base_url)).rstrip("/"))


Shown = Annotated[Links, Depends(_links_of)]


def signature(service: Service, job: Job, expires: int) -> str:
    """What only this service can write under a link."""
    return hmac.new(service.keyring.signing_secret(), f"{job.id} {expires}".encode(), hashlib.sha256).hexdigest()


def signed_job(service: Service, job_id: str, expires: int, signed: str) -> Job:
    """The job that a link leads to. ApiError 404 for a link that is wrong or has expired."""
    job = service.ledger.get(job_id)
    expected = signature(service, job, expires) if job is not None else ""
    good = (
        expected != "" and expires >= service.ledger.now() and hmac.compare_digest(signed.encode(), expected.encode())
    )
    if job is None or not good:
        raise ApiError(404, "the link is wrong or has expired: ask for the video again", code="not_found")
    return job


async def _shown_job(
    request: Request,
    video_id: str,
    service: TheService,
    credentials: Credentials,
    expires: Annotated[int | None, Query(ge=0, le=LARGEST_INT, description="of a signed link")] = None,
    signature: Annotated[str | None, Query(max_length=200, description="of a signed link")] = None,
) -> Job:
    if expires is not None and signature is not None:
        return await run_in_threadpool(signed_job, service, video_id, expires, signature)
    caller = await caller_of(request, service, credentials)
    return await run_in_threadpool(own_job, video_id, service, caller.owner)


ShownJob = Annotated[Job, Depends(_shown_job)]
"""The video that the path names: the caller's own, or that of a signed link."""
