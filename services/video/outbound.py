"""HTTP to addresses that clients name: only public ones, or those that the operator allows.

A name is resolved once, every address that it has is checked, and the connection goes to a checked address: a name that
changes its mind between check and use gains nothing. A redirect is a new connection and is checked like the first.
"""

import ipaddress
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import httpcore
import httpx

from services.video.config import OutboundSettings
from sora_core.errors import SoraError

log = logging.getLogger(__name__)

_MAX_REDIRECTS = 3
_USER_AGENT = b"sora-on-ray"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Iterable[str]]


class OutboundError(SoraError):
    """The other side can't be reached, or its answer can't be used."""


class ForbiddenAddress(OutboundError):
    """A URL leads to where clients must not send this server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the body is cut off where it isn't wanted."""

    status: int
    location: str | None
    body: bytes


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Whether an address is the open internet's, whatever it wraps."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


class Outbound:
    """Sends requests to the addresses that the settings permit, each within ``timeout_s`` from start to end."""

    def __init__(self, settings: OutboundSettings, resolve: Resolve = resolve) -> None:
        self._settings = settings
        self._resolve = resolve

    def check(self, url: str) -> None:
        """ForbiddenAddress or OutboundError for a URL that no request may go to."""
        target, deadline = _parsed(url), time.monotonic() + self._settings.timeout_s
        self._permitted(target.scheme, deadline, target.host, target.port or _PORTS[target.scheme])

    def fetch(self, url: str, *, max_bytes: int) -> bytes:
        """The body at a URL, through redirects; OutboundError when there is none of at most ``max_bytes``."""
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self.send("GET", url, max_bytes=max_bytes)
            if answer.location is None:
                if answer.status != 200:
                    raise OutboundError(f"{url} answers {answer.status}")
                return answer.body
            url = str(_parsed(url).join(answer.location))
        raise OutboundError(f"more than {_MAX_REDIRECTS} redirects")

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", max_bytes: int = 0
    ) -> Answer:
        """One request, redirects not followed; with ``max_bytes`` 0 the answer's body isn't read."""
        parts = _parsed(url)
        target = httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
        deadline = time.monotonic() + self._settings.timeout_s
        backend = _CheckedBackend(partial(self._permitted, parts.scheme, deadline), deadline)
        sent = {b"user-agent": _USER_AGENT} | {name.encode(): text.encode() for name, text in (headers or {}).items()}
        try:
            with (
                httpcore.ConnectionPool(ssl_context=_ssl_context(), network_backend=backend) as pool,
                pool.stream(method, target, headers=list(sent.items()), content=body) as answer,
            ):
                location = _location(answer) if answer.status in _REDIRECTS else None
                data = b"" if location or not max_bytes else _bounded(answer, max_bytes, url)
                return Answer(answer.status, location, data)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise OutboundError(f"{url}: {str(error) or type(error).__name__}") from error

    def _permitted(self, scheme: str, deadline: float, host: str, port: int) -> list[str]:
        """The addresses of a host, all of them permitted.

        One message for what isn't there and what isn't permitted: others would tell which names this network knows.
        """
        try:
            found = _in_time(lambda: list(self._resolve(host, port)), deadline)
        except (OSError, UnicodeError) as error:
            log.info("%s: %s", host, error)
            raise ForbiddenAddress(_NOT_PUBLIC.format(host)) from error
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            if any(address in network for network in self._settings.allowed_networks):
                continue
            if not is_public(address):
                log.info("%s is %s", host, text)
                raise ForbiddenAddress(_NOT_PUBLIC.format(host))
            if scheme != "https":
                raise ForbiddenAddress(f"{host}: use https")
        return found


_PORTS = {"http": 80, "https": 443}
_NOT_PUBLIC = "{} is no host on the open internet"
_REDIRECTS = (301, 302, 303, 307, 308)


def _in_time(resolve: Callable[[], list[str]], deadline: float) -> list[str]:
    """What a resolver says, unless it takes too long: then it is left behind. OSError for either failure."""
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(resolve())
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = found.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError("the name takes too long to resolve") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def _parsed(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise OutboundError(f"{url!r} is not a URL ({error})") from error
    if target.scheme not in _PORTS or not target.host or target.userinfo:
        raise OutboundError(f"{url!r}: use https://host/path")
    return target


def _location(answer: httpcore.Response) -> str | None:
    return next((text.decode("latin-1") for name, text in answer.headers if name.lower() == b"location"), None)


def _bounded(answer: httpcore.Response, max_bytes: int, url: str) -> bytes:
    data = bytearray()
    for chunk in answer.iter_stream():
        data += chunk
        if len(data) > max_bytes:
            raise OutboundError(f"{url} holds more than {max_bytes} bytes")
    return bytes(data)


class _CheckedBackend(httpcore.NetworkBackend):
    """Opens connections to permitted addresses only, and ends what outlasts the deadline (monotonic seconds)."""

    def __init__(self, permitted: Callable[[str, int], list[str]], deadline: float) -> None:
        self._permitted = permitted
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address of the host that answers. ForbiddenAddress before anything is sent."""
        last: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError(f"{host} has no address")
        for address in self._permitted(host, port):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _left(self._deadline, timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _TimedStream(stream, self._deadline)
        raise last


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends at one deadline: an answer that drips in byte by byte is cut off too."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Seconds that a wait may take before a deadline. httpcore.ReadTimeout when it is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("it took too long")
    return left if timeout is None else min(left, timeout)
