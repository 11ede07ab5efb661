"""The studio's address: static files that lie beside this room and speak the public HTTP API alone."""

from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

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


class _Page(StaticFiles):
    """The files of known kinds with their content types; anything else in the folder is not there."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        known = _CONTENT_TYPES.get(Path(path if path != "." else "index.html").suffix)
        response = await super().get_response(path if known else "absent", scope)
        if known:
            response.headers["content-type"] = known
        return response


class _Guarded:
    """An application whose every answer carries the page's headers."""

    def __init__(self, app: GZipMiddleware, policy: str) -> None:
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
    files = GZipMiddleware(_Page(directory=_FILES, html=True), minimum_size=500)

    @app.get("/studio", include_in_schema=False)
    def studio() -> RedirectResponse:
        """Relative, so that it holds behind any prefix."""
        return RedirectResponse("studio/", 307)

    app.mount("/studio", _Guarded(files, security_policy(settings.servers)), name="studio")
