"""Firefox by WebDriver BiDi, which it speaks without a driver beside it: as much as the test of the studio needs."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("firefox", "firefox-esr")
_STARTS_WITHIN_S = 120.0
_ANSWERS_WITHIN_S = 60.0


def program() -> str | None:
    """Where Firefox is, if it is here."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tab:
    """The browser's one tab. ``errors`` are those that its pages wrote to the console or didn't catch."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.errors: list[str] = []
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        self._context = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def go(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript, or of the promise that it is: text, a number, a boolean or null."""
        target = {"context": self._context}
        answer = self._ask("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def until(self, expression: str, within_s: float = _ANSWERS_WITHIN_S) -> None:
        """Wait until an expression is true."""
        give_up = time.monotonic() + within_s
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < give_up, f"not within {within_s} s: {expression}; {self.errors}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Press keys, one after another."""
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        self._ask("input.performActions", context=self._context, actions=actions)

    def _ask(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=_ANSWERS_WITHIN_S))
            if said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.errors.append(said["params"]["text"])
            if said.get("id") == self._last:
                assert said["type"] == "success", said
                return said["result"]


@contextmanager
def opened(folder: Path) -> Iterator[Tab]:
    """A Firefox without a window, its profile in an empty folder."""
    path = program()
    assert path is not None
    command = [path, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(folder)]
    log = folder / "log"
    with log.open("w") as stream:
        browser = subprocess.Popen(command, stderr=stream, stdout=subprocess.DEVNULL)
    try:
        with connect(f"{_address(log, browser)}/session", max_size=None, compression=None) as socket:
            yield Tab(socket)
    finally:
        browser.terminate()
        browser.wait()


def _address(log: Path, browser: subprocess.Popen[bytes]) -> str:
    """Where it listens, as it tells when it does."""
    give_up = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < give_up and browser.poll() is None:
        if found := re.search(r"listening on (ws://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"Firefox doesn't listen: {log.read_text()[-500:]}")
