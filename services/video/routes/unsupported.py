"""Calls of the Videos API that this service doesn't offer: refused by name, so that no client waits for a result."""

from fastapi import Request

from services.video.errors import ApiError
from services.video.routes.access import keyed_router

router = keyed_router(in_schema=False)


def _refuse(request: Request) -> None:
    what = f"{request.method} {request.url.path}"
    message = f"{what} is not offered by this service: it makes videos from text and from a first frame (POST /videos)"
    raise ApiError(400, message, code="unsupported")


for _method, _path in (
    ("POST", "/videos/edits"),
    ("POST", "/videos/extensions"),
    ("POST", "/videos/characters"),
    ("GET", "/videos/characters/{character_id}"),
    ("POST", "/videos/{video_id}/remix"),
    ("POST", "/images/edits"),
    ("POST", "/images/variations"),
):
    router.add_api_route(_path, _refuse, methods=[_method])
