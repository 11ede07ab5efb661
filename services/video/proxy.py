"""What Serve's HTTP proxy says by itself, in the words of the API: an answer of its own is plain text.

``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=services.video.proxy:middlewares`` in the environment of every node.
"""

import json
import logging

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 5
_STATUSES = {408: "the request took too long", 500: "the replica that answered has died", 503: "no replica answers"}


class ProxyFailures:
    """Turns the proxy's own failures into the error envelope, a 503 that clients try again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = begun = False

        async def send_told(message: Message) -> None:
            nonlocal own, begun
            if message["type"] == "http.response.start":
                own, begun = _is_the_proxys(message), True
                if own:
                    await _tell(scope, send, message["status"])
            if not own:
                await send(message)

        try:
            await self._app(scope, receive, send_told)
        except BaseException:  # else the web server answers for the proxy, in plain text; cancelled is one of them
            if not begun:
                await _tell(scope, send, 500)
            raise


def middlewares() -> list[Middleware]:
    """What Serve puts around its proxy."""
    return [Middleware(ProxyFailures)]


def _is_the_proxys(start: Message) -> bool:
    kind = Headers(raw=start.get("headers", ())).get("content-type", "")
    return start["status"] in _STATUSES and not kind.startswith("application/json")


async def _tell(scope: Scope, send: Send, status: int) -> None:
    log.warning("%s %s: the proxy answers %d", scope["method"], scope["path"], status)
    await send(_start())
    await send({"type": "http.response.body", "body": _body(status)})


def _body(status: int) -> bytes:
    message = f"{_STATUSES[status]}: try again"
    return json.dumps(
        {"error": {"message": message, "type": "server_error", "param": None, "code": "unavailable"}}
    ).encode()


def _start() -> Message:
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(_RETRY_AFTER_S).encode())]
    return {"type": "http.response.start", "status": 503, "headers": headers}
