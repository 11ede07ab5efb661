"""The routes of videos that start from videos: edits, extensions, transitions, remixes. Each makes a job like any."""

from functools import partial
from pathlib import Path

from fastapi import Request, Response

from services.video.edit_schemas import CutVideos, CutWish, EditVideo, ExtendVideo, JoinVideos, RemixVideo
from services.video.intake.material import JOINED, MASK_VIDEO, VIDEO
from services.video.intake.stills import MASK
from services.video.job import Job
from services.video.limits import IdempotencyKey
from services.video.routes.access import Service, TheCaller, TheService, keyed_router, own_job
from services.video.routes.forms import Body, Uploads, read_body
from services.video.routes.links import Shown
from services.video.routes.parameters import body_schema, parse
from services.video.routes.videos import accepted
from services.video.schemas import Video

_EDITED = (VIDEO, MASK, MASK_VIDEO)

router = keyed_router("/videos")


@router.post("/edits", openapi_extra=body_schema(EditVideo, files=_EDITED))
async def edit_video(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    uploads: Uploads,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Make a video anew by a prompt: all of it, a part, what lies around it, or what lies between its frames."""
    body = await _body(request, service, uploads, _EDITED)
    wish = parse(EditVideo, body, files=_EDITED)
    accept = partial(service.intake.accept, caller.owner, wish, body.files, idempotency_key, key_id=caller.key_id)
    return await accepted(links, response, caller.owner, accept, wish.ignored)


@router.post("/extensions", openapi_extra=body_schema(ExtendVideo, files=(VIDEO,)))
async def extend_video(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    uploads: Uploads,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Go on with a video, begin before it, or close it to a loop; the answer is the whole."""
    body = await _body(request, service, uploads, (VIDEO,))
    wish = parse(ExtendVideo, body, files=(VIDEO,))
    accept = partial(service.intake.accept, caller.owner, wish, body.files, idempotency_key, key_id=caller.key_id)
    return await accepted(links, response, caller.owner, accept, wish.ignored)


@router.post("/transitions", openapi_extra=body_schema(JoinVideos, files=JOINED))
async def join_videos(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    uploads: Uploads,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Lead from one video to another, which is cut to the first's size; the answer is both and what lies between."""
    body = await _body(request, service, uploads, JOINED)
    wish = parse(JoinVideos, body, files=JOINED)
    accept = partial(service.intake.accept, caller.owner, wish, body.files, idempotency_key, key_id=caller.key_id)
    return await accepted(links, response, caller.owner, accept, wish.ignored)


@router.post("/cuts", openapi_extra=body_schema(CutVideos))
async def cut_videos(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Put parts of videos one after another, or make one shorter; no model is run."""
    asked = parse(CutVideos, await read_body(request, service.config.api, service.config.api.max_upload_bytes))

    def accept() -> list[Job]:
        made = service.intake.repeated(caller.owner, asked, idempotency_key)
        if made is not None:
            return made
        first = own_job(asked.clips[0].id, service, caller.owner)
        wish = CutWish(
            prompt=asked.prompt or first.params["prompt"],
            model=asked.model,
            clips=asked.clips,
            priority=asked.priority,
        )
        return service.intake.accept(caller.owner, wish, None, idempotency_key, said=asked, key_id=caller.key_id)

    return await accepted(links, response, caller.owner, accept)


@router.post("/{video_id}/remix", openapi_extra=body_schema(RemixVideo))
async def remix_video(
    request: Request,
    response: Response,
    service: TheService,
    caller: TheCaller,
    video_id: str,
    links: Shown,
    idempotency_key: IdempotencyKey = None,
) -> Video:
    """Make a video again by another prompt, with its own seed and settings."""
    wish = parse(RemixVideo, await read_body(request, service.config.api, service.config.api.max_upload_bytes))

    def accept() -> list[Job]:
        made = service.intake.repeated(caller.owner, wish, idempotency_key, remixed_from=video_id)
        if made is not None:  # also when the video is gone by now
            return made
        again = _remixed(own_job(video_id, service, caller.owner), wish)
        return service.intake.accept(
            caller.owner, again, None, idempotency_key, remixed_from=video_id, said=wish, key_id=caller.key_id
        )

    return await accepted(links, response, caller.owner, accept)


async def _body(request: Request, service: Service, uploads: Path, may_be_files: tuple[str, ...]) -> Body:
    limits = service.config.api
    return await read_body(request, limits, limits.max_upload_bytes, uploads, 2 * limits.max_video_bytes, may_be_files)


def _remixed(job: Job, wish: RemixVideo) -> EditVideo:
    params = job.params
    return EditVideo(
        prompt=wish.prompt,
        model=job.model,
        video_id=job.id,
        strength=wish.strength,
        negative_prompt=params["negative_prompt"],
        num_inference_steps=params["num_inference_steps"],
        guidance_scale=params["guidance_scale"],
        seed=params["seed"],
        priority=job.priority,
    )
