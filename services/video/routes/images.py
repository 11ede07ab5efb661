"""Still images of the same model, through the same ledger and batch: OpenAI's Images API over one-frame jobs."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from services.video.accounts.keys import Caller
from services.video.errors import ApiError, refused
from services.video.image_schemas import CreateImages, EditImages, ImageFormat, ImageList, StillImage
from services.video.intake.stills import IMAGE, MASK
from services.video.job import IMAGE_ID, Job, Kind, Status
from services.video.limits import LARGEST_INT, IdempotencyKey
from services.video.routes.access import ERRORS, Service, TheCaller, TheService, keyed_router
from services.video.routes.forms import Body, Uploads, read_body
from services.video.routes.links import Links, Shown, signature, signed_job
from services.video.routes.parameters import body_schema, parse
from services.video.routes.videos import tell_ignored
from sora_core import storage
from sora_core.errors import MissingObject

_PRESENT_S = 0.5  # between two looks whether the client is still there
_EDITED = (IMAGE, MASK)
_ENDED = {"invalid_request": 400, "moderation_blocked": 400, "cancelled": 409}

router = keyed_router("/images")
linked = APIRouter(prefix="/v1/images", responses=ERRORS)


@router.post("/generations", openapi_extra=body_schema(CreateImages))
async def create_images(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> ImageList:
    """Make images and wait for them."""
    wanted = parse(CreateImages, await read_body(request, service.config.api, service.config.api.max_upload_bytes))
    tell_ignored(response, wanted.ignored)
    accept = _accepting(service, caller, wanted, {}, idempotency_key)
    return await _made(request, links, caller.owner, wanted, accept, keep=idempotency_key is not None)


@router.post("/edits", openapi_extra=body_schema(EditImages, files=_EDITED))
async def edit_images(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    uploads: Uploads,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> ImageList:
    """Make an image anew by a prompt, all of it or what a mask leaves open, and wait for it."""
    most = service.config.api.max_upload_bytes
    body = _with_one_image(await read_body(request, service.config.api, most, uploads, 2 * most, _EDITED))
    wanted = parse(EditImages, body, files=_EDITED)
    tell_ignored(response, wanted.ignored)
    accept = _accepting(service, caller, wanted, body.files, idempotency_key)
    return await _made(request, links, caller.owner, wanted, accept, keep=idempotency_key is not None)


def _accepting(
    service: Service, caller: Caller, wanted: CreateImages | EditImages, files: Mapping[str, FilePath], once: str | None
) -> Callable[[], list[Job]]:
    """What accepts the jobs of a request for images."""
    accept = service.intake.accept
    return partial(accept, caller.owner, wanted.wish(), files, once, kind=Kind.IMAGE, key_id=caller.key_id)


def _with_one_image(body: Body) -> Body:
    """The clients send a list of images as ``image[]``; ApiError 400 for more than one."""
    listed = [name for name in body.files if name.startswith(f"{IMAGE}[")]
    if len(listed) > 1:
        raise refused(IMAGE, f"{len(listed)} images: this model edits one", "unsupported")
    return Body(body.values, {IMAGE if name in listed else name: path for name, path in body.files.items()})


async def _made(
    request: Request,
    links: Links,
    owner: str,
    wanted: CreateImages | EditImages,
    accept: Callable[[], list[Job]],
    *,
    keep: bool,
) -> ImageList:
    """The images of a request, once they are there. ``keep``: a repetition of the request finds what this one began."""
    accepted = await links.service.turns.run(owner, accept)
    try:
        done = await _ended(request, links.service, accepted)
    except BaseException:  # also the cancellation that a client's hanging up is under Serve
        if not keep:
            await run_in_threadpool(_cancel, links.service, accepted)
        raise
    images = [await run_in_threadpool(_image, links, wanted, job) for job in done]
    params = done[0].params
    size = f"{params['width']}x{params['height']}"
    return ImageList(created=int(done[0].created_at), size=size, output_format=wanted.output_format, data=images)


async def _ended(request: Request, service: Service, accepted: Sequence[Job]) -> list[Job]:
    """The jobs, completed. ApiError when one failed or they take too long, or the client has gone."""
    give_up = time.monotonic() + service.config.api.image_wait_s
    ends = [service.watch.end_of(job) for job in accepted]
    while True:
        done, waiting = await asyncio.wait(ends, timeout=_PRESENT_S, return_when=asyncio.FIRST_COMPLETED)
        jobs = [end.result() for end in done]
        for job in jobs:
            if job is not None and job.status is Status.FAILED:
                raise _failed(job)
        if None in jobs or await request.is_disconnected():
            raise ApiError(409, "the request was given up", code="cancelled", headers=_FINAL)
        if not waiting:
            return [job for job in (end.result() for end in ends) if job is not None]
        if time.monotonic() > give_up:
            message = f"the images took longer than {service.config.api.image_wait_s:g} s and were cancelled"
            raise ApiError(503, message, code="timeout", kind="server_error", headers=_FINAL)
        if done:
            await asyncio.sleep(_PRESENT_S / 10)


_FINAL = {"x-should-retry": "false"}


def _failed(job: Job) -> ApiError:
    status = _ENDED.get(job.error_code or "", 500)
    kind = "server_error" if status == 500 else "invalid_request_error"
    return ApiError(status, f"{job.id} failed: {job.error_message}", code=job.error_code, kind=kind, headers=_FINAL)


def _cancel(service: Service, accepted: Sequence[Job]) -> None:
    for job in accepted:
        service.ledger.delete(job.id, job.owner)


def _image(links: Links, wanted: CreateImages | EditImages, job: Job) -> StillImage:
    """One image as the client wants it."""
    seed = job.params["seed"]
    if wanted.response_format == "url":
        until = int(job.expires_at or 0)
        query = {
            "format": wanted.output_format,
            "quality": wanted.output_compression,
            "expires": until,
            "signature": signature(links.service, job, until),
        }
        return StillImage(url=f"{links.base}/v1/images/{job.id}/content?{urlencode(query)}", seed=seed)
    data = _encoded(job, wanted.output_format, wanted.output_compression)
    return StillImage(b64_json=base64.b64encode(data).decode(), seed=seed)


def _encoded(job: Job, output_format: str, quality: int) -> bytes:
    """The image's file. ApiError 404 when it isn't stored any more."""
    assert job.result is not None
    try:
        stored = storage.read_bytes(job.result["image"]["uri"])
    except MissingObject as error:
        raise _gone() from error
    if output_format == "png":
        return stored
    stream = BytesIO()
    with Image.open(BytesIO(stored)) as image:
        image.save(stream, output_format, quality=quality)
    return stream.getvalue()


@linked.get("/{image_id}/content", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def download_image(
    service: TheService,
    image_id: Annotated[str, Path(pattern=IMAGE_ID.pattern)],
    expires: Annotated[int, Query(ge=0, le=LARGEST_INT)],
    signature: Annotated[str, Query(max_length=200)],
    image_format: Annotated[ImageFormat, Query(alias="format")] = "png",
    quality: Annotated[int, Query(ge=0, le=100)] = 100,
) -> Response:
    """An image by the link that its request was answered with; the signature stands for the key."""
    job = signed_job(service, image_id, expires, signature)
    if job.result is None:
        raise _gone()
    return Response(_encoded(job, image_format, quality), media_type=f"image/{image_format}")


def _gone() -> ApiError:
    return ApiError(404, "no such image: the link is wrong or has expired", code="not_found")
