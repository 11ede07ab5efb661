"""Still images of the same model, through the same ledger and batch: OpenAI's Images API over one-frame jobs."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from services.video.config import ServiceConfig
from services.video.errors import ApiError, refused
from services.video.image_schemas import CreateImages, EditImages, ImageFormat, ImageList, StillImage
from services.video.intake.stills import IMAGE, MASK
from services.video.job import IMAGE_ID, OPEN, Job, Kind, Status
from services.video.routes.access import ERRORS, Owner, Service, TheService, keyed_router
from services.video.routes.forms import Body, Uploads, read_body
from services.video.routes.parameters import body_schema, parse
from sora_core import storage
from sora_core.errors import MissingObject

_LOOK_S = (0.05, 0.5)  # between two looks at a job, first and at most
_EDITED = (IMAGE, MASK)
_ENDED = {"invalid_request": 400, "cancelled": 409}

router = keyed_router("/images")
linked = APIRouter(prefix="/v1/images", responses=ERRORS)


@router.post("/generations", openapi_extra=body_schema(CreateImages))
async def create_images(
    request: Request, service: TheService, owner: Owner, idempotency_key: Annotated[str | None, Header()] = None
) -> ImageList:
    """Make images and wait for them."""
    wanted = parse(CreateImages, await read_body(request, service.config.api.max_upload_bytes))
    accept = partial(service.intake.accept, owner, wanted.wish(), None, idempotency_key, kind=Kind.IMAGE)
    return await _made(request, service, wanted, accept, keep=idempotency_key is not None)


@router.post("/edits", openapi_extra=body_schema(EditImages, files=_EDITED))
async def edit_images(
    request: Request,
    service: TheService,
    owner: Owner,
    uploads: Uploads,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> ImageList:
    """Make an image anew by a prompt, all of it or what a mask leaves open, and wait for it."""
    most = service.config.api.max_upload_bytes
    body = _with_one_image(await read_body(request, most, uploads, 2 * most, _EDITED))
    wanted = parse(EditImages, body, files=_EDITED)
    accept = partial(service.intake.accept, owner, wanted.wish(), body.files, idempotency_key, kind=Kind.IMAGE)
    return await _made(request, service, wanted, accept, keep=idempotency_key is not None)


def _with_one_image(body: Body) -> Body:
    """The clients send a list of images as ``image[]``; ApiError 400 for more than one."""
    listed = [name for name in body.files if name.startswith(f"{IMAGE}[")]
    if len(listed) > 1:
        raise refused(IMAGE, f"{len(listed)} images: this model edits one", "unsupported")
    return Body(body.values, {IMAGE if name in listed else name: path for name, path in body.files.items()})


async def _made(
    request: Request,
    service: Service,
    wanted: CreateImages | EditImages,
    accept: Callable[[], list[Job]],
    *,
    keep: bool,
) -> ImageList:
    """The images of a request, once they are there. ``keep``: a repetition of the request finds what this one began."""
    accepted = await run_in_threadpool(accept)
    try:
        done = await _ended(request, service, accepted)
    except BaseException:  # also the cancellation that a client's hanging up is under Serve
        if not keep:
            await run_in_threadpool(_cancel, service, accepted)
        raise
    images = [await run_in_threadpool(_image, request, service.config, wanted, job) for job in done]
    params = done[0].params
    size = f"{params['width']}x{params['height']}"
    return ImageList(created=int(done[0].created_at), size=size, output_format=wanted.output_format, data=images)


async def _ended(request: Request, service: Service, accepted: Sequence[Job]) -> list[Job]:
    """The jobs, completed. ApiError when one failed or they take too long, or the client has gone."""
    give_up = time.monotonic() + service.config.api.image_wait_s
    pause_s, longest_s = _LOOK_S
    while True:
        jobs = [await run_in_threadpool(service.ledger.get, job.id, job.owner) for job in accepted]
        ended = [job for job in jobs if job is not None and job.status not in OPEN]
        for job in ended:
            if job.status is Status.FAILED:
                raise _failed(job)
        if len(ended) == len(accepted):
            return ended
        if None in jobs or await request.is_disconnected():
            raise ApiError(409, "the request was given up", code="cancelled", headers=_FINAL)
        if time.monotonic() > give_up:
            message = f"the images took longer than {service.config.api.image_wait_s:g} s and were cancelled"
            raise ApiError(503, message, code="timeout", kind="server_error", headers=_FINAL)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)


_FINAL = {"x-should-retry": "false"}


def _failed(job: Job) -> ApiError:
    status = _ENDED.get(job.error_code or "", 500)
    kind = "server_error" if status == 500 else "invalid_request_error"
    return ApiError(status, f"{job.id} failed: {job.error_message}", code=job.error_code, kind=kind, headers=_FINAL)


def _cancel(service: Service, accepted: Sequence[Job]) -> None:
    for job in accepted:
        service.ledger.delete(job.id, job.owner)


def _image(request: Request, config: ServiceConfig, wanted: CreateImages | EditImages, job: Job) -> StillImage:
    """One image as the client wants it."""
    seed = job.params["seed"]
    if wanted.response_format == "url":
        until = int(job.expires_at or 0)
        query = {
            "format": wanted.output_format,
            "quality": wanted.output_compression,
            "expires": until,
            "signature": _signature(config, job, until),
        }
        return StillImage(
            url=str(request.url_for("download_image", image_id=job.id).include_query_params(**query)), seed=seed
        )
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
    expires: Annotated[int, Query()],
    signature: Annotated[str, Query()],
    image_format: Annotated[ImageFormat, Query(alias="format")] = "png",
    quality: Annotated[int, Query(ge=0, le=100)] = 100,
) -> Response:
    """An image by the link that its request was answered with; the signature stands for the key."""
    job = service.ledger.get(image_id)
    expected = _signature(service.config, job, expires) if job is not None else ""
    if job is None or not hmac.compare_digest(signature.encode(), expected.encode()) or expires < time.time():
        raise _gone()
    return Response(_encoded(job, image_format, quality), media_type=f"image/{image_format}")


def _gone() -> ApiError:
    return ApiError(404, "no such image: the link is wrong or has expired", code="not_found")


def _signature(config: ServiceConfig, job: Job, expires: int) -> str:
    """What only this service can write under a link; the secret is the kept hash of the owner's key."""
    secret = bytes.fromhex(config.api.keys[job.owner])
    return hmac.new(secret, f"{job.id} {expires}".encode(), hashlib.sha256).hexdigest()
