"""Calls of the Videos API that this service doesn't offer: refused by name, so that no client waits for a result."""

from collections.abc import Callable

from fastapi import Request

from services.video.errors import ApiError
from services.video.routes.access import keyed_router

router = keyed_router(in_schema=False)


_IMAGES = "images are made from a prompt (POST /images/generations), or from an image and one (POST /images/edits)"


def _refused(why: str) -> Callable[[Request], None]:
    def refuse(request: Request) -> None:
        raise ApiError(400, f"{request.method} {request.url.path} is not offered: {why}", code="unsupported")

    return refuse


for _method, _path, _why in (("POST", "/images/variations", _IMAGES),):
    router.add_api_route(_path, _refused(_why), methods=[_method])
