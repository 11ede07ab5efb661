"""The studio's address: static files that lie beside this room and speak the public HTTP API alone."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.video.config import StudioSettings

_FILES = Path(__file__).parents[1] / "studio"
# By name, because what the host's own table says differs from one machine to another.
_CONTENT_TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
_HEADERS = MappingProxyType(
    {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cache-control": "no-cache",  # asked again each time, answered 304: a new release is seen at once
    }
)


def security_policy(servers: tuple[str, ...]) -> str:
    """What the page may load: its own files, and data and media of this service and of further ``servers``."""
    own = " ".join(("'self'", *servers))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src {own} blob: data:; media-src {own} blob:; connect-src {own}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it goes out: plain and packed, with a tag that changes when it does."""

    plain: bytes
    packed: bytes
    headers: Mapping[str, str]


@lru_cache(maxsize=256)
def _read(path: Path, modified_ns: int) -> _File:
    """What a file holds, read and packed once until it is another."""
    plain = path.read_bytes()
    headers = {
        "content-type": _CONTENT_TYPES[path.suffix],
        "etag": f'"{sha256(plain).hexdigest()[:16]}"',
        "last-modified": formatdate(modified_ns / 1e9, usegmt=True),
        "vary": "accept-encoding",
    }
    return _File(plain, gzip.compress(plain, mtime=0), headers)


async def _page(request: Request) -> Response:
    """The files of known kinds with their content types; anything else in the folder is not there."""
    path = _FILES / (request.path_params["path"] or "index.html")
    if path.suffix not in _CONTENT_TYPES or ".." in path.parts or not path.is_file():
        raise HTTPException(404)
    file = _read(path, path.stat().st_mtime_ns)
    if file.headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=file.headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**file.headers, "content-encoding": "gzip"})
    return Response(file.plain, headers=file.headers)


class _Guarded:
    """An application whose every answer carries the page's headers."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = {**_HEADERS, "content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_guarded)


def mount(app: FastAPI, settings: StudioSettings) -> None:
    """Serve the page at ``/studio/``, unless the operator has switched it off."""
    if not settings.enabled:
        return
    files = Router([Route("/{path:path}", _page, methods=["GET"])])  # HEAD comes with it

    @app.get("/studio", include_in_schema=False)
    def studio() -> RedirectResponse:
        """Relative, so that it holds behind any prefix."""
        return RedirectResponse("studio/", 307)

    app.mount("/studio", _Guarded(files, security_policy(settings.servers)), name="studio")
