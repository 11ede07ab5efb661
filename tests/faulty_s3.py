"""S3 as it is on a bad day: a relay before a real server that now and then refuses, resets, cuts short or dawdles."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["500", "503", "expired", "archived", "denied", "foreign key", "reset", "truncated", "slow"]
# ``(method, path, attempt)``: what goes wrong with this request, of which it is the attempt of that number from 0.
Faults = Callable[[str, str, int], Fault | None]

_ERRORS = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "expired": (400, "ExpiredToken"),
    "archived": (403, "InvalidObjectState"),
    "denied": (403, "AccessDenied"),
    "foreign key": (400, "KMS.NotFoundException"),
}
SLOW_S = 1.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _relay(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        fault = self.server.fault_of(self.command, self.path)
        if fault in _ERRORS:
            self._refuse(*_ERRORS[fault])
        elif fault == "reset":
            self._reset()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _relay  # noqa: N815

    def _refuse(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a bad day</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _reset(self) -> None:
        # Lingering for no time makes the close a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        upstream = HTTPConnection(self.server.target, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if fault == "slow":
            time.sleep(SLOW_S)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", size or "0")
        self.end_headers()
        if fault == "truncated" and data:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._reset()
        else:
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: str, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self._faults = faults
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self.injected: Counter[str] = Counter()

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self._lock:
            attempt = self._attempts[method, path]
            self._attempts[method, path] += 1
            fault = self._faults(method, path, attempt)
            if fault:
                self.injected[fault] += 1
            return fault

    def handle_error(self, *_: object) -> None:
        """A client that hung up."""


@contextmanager
def faulty(endpoint: str, faults: Faults) -> Iterator[tuple[str, Counter[str]]]:
    """An endpoint that stands before ``endpoint``, and a count of what it did wrong."""
    server = _Server(urlsplit(endpoint).netloc, faults)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.injected
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
