"""What every HTTP answer has: a request id, the error envelope when it fails, and its place in the metrics."""

import errno
import logging
import re
import time
import uuid
from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.video.errors import ApiError, unavailable
from services.video.ledger.tables import LedgerUnavailable
from sora_core import telemetry
from sora_core.errors import InputError, ModerationUnavailable, StorageError

log = logging.getLogger(__name__)

_REQUEST_ID = "x-request-id"
_CONTENT = "/content"
_EXPOSED = (
    _REQUEST_ID, "openai-poll-after-ms", "retry-after", "etag", "accept-ranges", "content-range", "content-disposition",
)  # fmt: skip
_PREFLIGHT_S = 600
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
_CODES = {404: "not_found", 405: "method_not_allowed"}


class RequestEdge:
    """Outermost middleware: names the request, counts it, and turns what nobody expected into a 500.

    ``named_by_proxy``: the proxy in front puts the request's id into the request and into the answer.
    """

    def __init__(self, app: ASGIApp, *, named_by_proxy: bool) -> None:
        self._app = app
        self._named_by_proxy = named_by_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        bodiless = scope["method"] == "HEAD" and not scope["path"].endswith(_CONTENT)
        if bodiless:  # what GET says, without its body; a file's headers have a route of their own
            scope = {**scope, "method": "GET"}
        began = time.perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                if not self._named_by_proxy:
                    headers[_REQUEST_ID] = request_id
            elif bodiless:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            log.exception("%s %s failed (%s)", scope["method"], scope["path"], request_id)
            if status:
                raise
            message = f"an error of this server; its log names it by {request_id}"
            await envelope(ApiError(500, message, code="internal_error", kind="server_error"))(
                scope, receive, send_named
            )
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            telemetry.VIDEO_REQUESTS.inc(1, {"route": route, "status": str(status)})
            telemetry.VIDEO_REQUEST_SECONDS.observe(time.perf_counter() - began, {"route": route})


def _request_id(headers: Headers) -> str:
    """The caller's or the proxy's own id when it is a plain one, else a new one."""
    given = headers.get(_REQUEST_ID, "")
    return given if re.fullmatch(r"[\w-]{1,128}", given) else f"req_{uuid.uuid4().hex}"


def envelope(error: ApiError) -> JSONResponse:
    """The error as the clients read it, counted."""
    telemetry.VIDEO_REFUSALS.inc(1, {"code": error.code or str(error.status)})
    body = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return JSONResponse({"error": body}, error.status, headers=error.headers)


def _methods(app: FastAPI, path: str) -> str:
    """Every method of a path; the framework itself names those of the first route alone."""
    operations = app.openapi()["paths"]
    patterns = {template: re.sub(r"{\w+}", "[^/]+", template) for template in operations}
    named = [path] if path in operations else [key for key, pattern in patterns.items() if re.fullmatch(pattern, path)]
    return ", ".join(sorted({method.upper() for template in named for method in operations[template]}))


def install(app: FastAPI, *, named_by_proxy: bool, cors_origins: Sequence[str] = ()) -> None:
    """Give an application the request edge and the envelope for all that it can raise.

    Pages of ``cors_origins`` may read its answers, refusals too.
    """
    app.add_middleware(RequestEdge, named_by_proxy=named_by_proxy)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED),
            max_age=_PREFLIGHT_S,
        )

    @app.exception_handler(ApiError)
    async def _api_error(_: Request, error: ApiError) -> JSONResponse:
        return envelope(error)

    @app.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = _CODES.get(error.status_code)
        headers = {"allow": _methods(app, request.url.path)} if error.status_code == 405 else error.headers
        return envelope(ApiError(error.status_code, message, code=code, headers=headers))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = str(first["loc"][-1])
        return envelope(ApiError(400, f"{param}: {first['msg']}", param=param, code="invalid_value"))

    @app.exception_handler(InputError)
    async def _input_error(_: Request, error: InputError) -> JSONResponse:
        return envelope(ApiError(400, str(error), code="invalid_value"))

    @app.exception_handler(StorageError)
    async def _storage_error(_: Request, error: StorageError) -> JSONResponse:
        log.error("storage: %s", error)
        return envelope(unavailable("the storage of the videos doesn't answer: try again later", retry_after_s=5))

    @app.exception_handler(OSError)
    async def _host_error(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in _FULL:
            raise error
        log.error("this replica's host: %s", error)
        return envelope(unavailable("this replica has no room now: try again later", retry_after_s=5))

    @app.exception_handler(ModerationUnavailable)
    async def _moderation_error(_: Request, error: ModerationUnavailable) -> JSONResponse:
        log.error("%s", error)
        return envelope(unavailable("who judges requests here doesn't answer: try again later", retry_after_s=5))

    @app.exception_handler(LedgerUnavailable)
    async def _ledger_error(_: Request, error: LedgerUnavailable) -> JSONResponse:
        log.error("%s", error)
        return envelope(unavailable("the ledger of jobs doesn't answer: try again later", retry_after_s=5))
