"""Where this server may be sent by its clients, and for how long."""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from services.video.config import OutboundSettings
from services.video.outbound import ForbiddenAddress, Outbound, OutboundError, is_public

from .web import serving

LOCAL = {"allowed_networks": ["127.0.0.0/8"]}

DRIPS_S = 20.0


class Site(BaseHTTPRequestHandler):
    """A server whose paths say how it behaves."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(int(DRIPS_S / 0.05)):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.send_response(200 if self.path == "/page" else 404)
            self.end_headers()
            self.wfile.write(b"x" * 1000)

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(Site) as address:
        yield address


def outbound(resolve: Callable[[str, int], list[str]] | None = None, **settings: Any) -> Outbound:
    checked = OutboundSettings.model_validate(settings)
    return Outbound(checked, resolve) if resolve else Outbound(checked)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "2002:7f00:1::", "64:ff9b::a00:1", "2001:db8::1", "::ffff:169.254.169.254",
    ],
)  # fmt: skip
def test_an_address_that_is_not_on_the_open_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_however_it_is_written(site: str, host: str) -> None:
    port = site.partition(":")[2]
    for call in (outbound().fetch, outbound().send):
        with pytest.raises(ForbiddenAddress, match="no host on the open internet"):
            call(*(["GET"] if call.__name__ == "send" else []), f"http://{host}:{port}/page", max_bytes=10)


def test_what_the_operator_allows_is_reached(site: str) -> None:
    assert outbound(**LOCAL).fetch(f"http://{site}/page", max_bytes=1000) == b"x" * 1000


def test_a_redirect_is_checked_like_the_first_address(site: str) -> None:
    names = {"open.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"]}
    guarded = outbound(lambda host, port: names[host], allowed_networks=["127.0.0.1/32"])
    port = site.partition(":")[2]
    with pytest.raises(ForbiddenAddress, match=r"inside\.test is no host"):
        guarded.fetch(f"http://open.test:{port}/to/http://inside.test:{port}/page", max_bytes=1000)


def test_a_name_that_changes_its_mind_is_connected_where_it_was_checked(site: str) -> None:
    """DNS rebinding: every connection uses the very addresses that its own check saw."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    guarded = outbound(lambda host, port: next(answers), **LOCAL)
    port = site.partition(":")[2]
    assert len(guarded.fetch(f"http://rebind.test:{port}/page", max_bytes=1000)) == 1000
    with pytest.raises(ForbiddenAddress, match="is no host"):
        guarded.fetch(f"http://rebind.test:{port}/page", max_bytes=1000)


def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    guarded = outbound(lambda host, port: ["8.8.8.8", "192.168.0.1"])
    with pytest.raises(ForbiddenAddress, match="is no host"):
        guarded.check("https://example.test/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://h/",
        "//h/x",
        "h",
        "",
        "https://user:pw@h/",
        "http://h:99999/",
        "https://h:x/",
        "http:///x",
        "http://\x00/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(OutboundError):
        outbound(lambda host, port: ["8.8.8.8"]).check(url)


def test_only_https_leaves_the_operators_networks() -> None:
    guarded = outbound(lambda host, port: ["8.8.8.8"])
    guarded.check("https://example.test/")
    with pytest.raises(ForbiddenAddress, match="use https"):
        guarded.check("http://example.test/")


def test_a_body_is_cut_off_where_it_is_too_long(site: str) -> None:
    with pytest.raises(OutboundError, match="more than 999 bytes"):
        outbound(**LOCAL).fetch(f"http://{site}/page", max_bytes=999)


@pytest.mark.parametrize("path", ["/missing", "/to//to//to//to//to//page"])
def test_an_answer_without_a_body_to_use_is_an_error(site: str, path: str) -> None:
    with pytest.raises(OutboundError, match=r"answers 404|3 redirects"):
        outbound(**LOCAL).fetch(f"http://{site}{path}", max_bytes=1000)


def test_an_answer_that_drips_in_is_cut_off_in_time(site: str) -> None:
    began = time.monotonic()
    with pytest.raises(OutboundError, match=r"timed out|too long"):
        outbound(timeout_s=0.3, **LOCAL).fetch(f"http://{site}/drip", max_bytes=1000)
    assert time.monotonic() - began < DRIPS_S / 2


def test_a_name_that_nobody_resolves_costs_no_more_than_the_timeout() -> None:
    def slow(host: str, port: int) -> list[str]:
        time.sleep(20.0)
        return ["8.8.8.8"]

    began = time.monotonic()
    for call in (outbound(slow, timeout_s=0.1).check, lambda url: outbound(slow, timeout_s=0.1).send("GET", url)):
        with pytest.raises(OutboundError):
            call("https://slow.test/")
    assert time.monotonic() - began < 15


def test_what_is_inside_and_what_is_not_there_sound_alike() -> None:
    """Or a client could ask which names this network knows."""

    def inside(host: str, port: int) -> list[str]:
        if host == "absent.test":
            raise socket.gaierror(-2, "Name or service not known")
        return ["10.0.0.1"]

    said = set()
    for host in ("absent.test", "intranet.test"):
        with pytest.raises(ForbiddenAddress) as refusal:
            outbound(inside).check(f"https://{host}/")
        said.add(str(refusal.value).replace(host, "HOST"))
    assert len(said) == 1
