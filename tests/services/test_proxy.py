"""What Serve's proxy says by itself is said in the API's words, whatever went wrong behind it."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from services.video.proxy import ProxyFailures

SCOPE = {"type": "http", "method": "GET", "path": "/v1/videos"}


def answer(app: Any, raises: type[BaseException] | None = None) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an application's answer through the proxy's middleware."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    if raises is None:
        asyncio.run(ProxyFailures(app)(SCOPE, receive, send))
    else:
        with pytest.raises(raises):
            asyncio.run(ProxyFailures(app)(SCOPE, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(part["body"] for part in sent[1:])


def says(status: int, kind: bytes, body: bytes) -> Any:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    return app


def test_the_services_own_answers_pass_as_they_are() -> None:
    for status in (200, 404, 500, 503):
        assert answer(says(status, b"application/json", b"{}"))[::2] == (status, b"{}")
    assert answer(says(404, b"text/plain", b"no"))[::2] == (404, b"no")


@pytest.mark.parametrize("status", [408, 500, 503])
def test_the_proxys_own_words_become_the_envelope(status: int) -> None:
    told, headers, body = answer(says(status, b"text/plain", b"Internal Server Error"))
    assert (told, headers["retry-after"]) == (503, "5")
    assert json.loads(body)["error"]["code"] == "unavailable"


@pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError])
def test_a_proxy_that_fails_without_a_word_is_spoken_for(fault: type[BaseException]) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise fault

    told, headers, body = answer(app, fault)
    assert (told, headers["content-type"]) == (503, "application/json")
    assert json.loads(body)["error"]["type"] == "server_error"


def test_an_answer_that_broke_off_gets_no_second_start() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says(200, b"video/mp4", b"half")(scope, receive, send)
        raise RuntimeError

    assert answer(app, RuntimeError)[::2] == (200, b"half")
