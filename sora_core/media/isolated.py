"""Decoders at arm's length: a stranger's file may kill or take over the process that reads it, so that one isn't the
caller's own, has no secrets, is no root where possible, and ends when it takes too much memory or time."""

import logging
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socketpair
from typing import Any, NoReturn, ParamSpec, TypeVar

from sora_core.errors import SoraError, UnreadableMedia
from sora_core.media.lent import lent
from sora_core.media.messages import Said, Untrustworthy, receive, send

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# The reason of what brings its process down by itself.
CRASHED = "decoder_crashed"
# Pauses before a call is made again whose process somebody else killed, as a machine short of memory does.
_PAUSES_S = (0.0, 1.0, 5.0)
# How long a process that has hung up may take to end, and how long one may pause within a message.
_PARTING_S = 5.0
_STALLED_S = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call may take: ``memory_bytes`` of the process in all, ``cpu_s`` of a call, and ``deadline_s`` of the
    clock for a call, or for each item of one that gives several."""

    memory_bytes: int = 8 << 30
    cpu_s: int = 6 * 3600
    deadline_s: float = 12 * 3600.0


class ProcessDied(UnreadableMedia):
    """The input brought down the process that read it; ``status`` is its exit status, negative for a signal."""

    def __init__(self, what: str, status: int | None, reason: str = CRASHED) -> None:
        super().__init__(f"{what} ended its process ({status}): convert the file, or leave it out", reason=reason)
        self.status = status


class DecoderKilled(SoraError):
    """Somebody else killed the process again and again, as a machine short of memory does. It says nothing about the
    input, which may be tried again later."""


class Isolated:
    """A process that runs one call at a time, for one thread. It starts at once, ends with its owner, and is replaced
    when it dies."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._user: int | None = None
        self._start()

    def _start(self) -> None:
        ours, theirs = socketpair()
        # Half a message is no way around the deadline.
        for option in (SO_RCVTIMEO, SO_SNDTIMEO):
            ours.setsockopt(SOL_SOCKET, option, struct.pack("ll", _STALLED_S, 0))
        numbers = (theirs.fileno(), self._limits.memory_bytes, self._limits.cpu_s)
        # Started afresh, not forked: a copy of an actor would hold its threads' locks and its secrets.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sora_core.media.decoder_process", *map(str, numbers)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Processes share the cores, so that each takes one.
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns or raises there; arguments and result are pickled, and only plain data comes back.

        ProcessDied if it brings the process down or takes too long, UnreadableMedia (``memory_limit``) where memory
        doesn't suffice, DecoderKilled if others kill the process.
        """
        for pause_s in _PAUSES_S:
            try:
                return self._call(function, args, kwargs)
            except DecoderKilled as error:
                logger.warning("%s; again in %g s", error, pause_s)
                time.sleep(pause_s)
        return self._call(function, args, kwargs)

    def _call(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        what = _named(function, args)
        self._ask(what, (function, args, kwargs, False))
        _, value = self._heard(what)
        result: T = value
        return result

    def call_twice(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call`, and after a crash once more in a new process that has seen nothing else. ProcessDied if that one dies
        too, or a limit was reached."""
        try:
            return self.call(function, *args, **kwargs)
        except ProcessDied as error:
            if error.reason != CRASHED:
                raise
            logger.warning("%s; once more alone", error)
        return self.call(function, *args, **kwargs)

    def each(self, function: Callable[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        """The items that ``function`` yields there, one by one; the errors of `call`, but DecoderKilled at once.

        Items left over, where the caller stops early, cost the process.
        """
        what = _named(function, args)
        self._ask(what, (function, args, kwargs, True))
        try:
            while True:
                said, item = self._heard(what)
                if said is Said.END:
                    return
                yield item
        except GeneratorExit:
            self._replace()
            raise

    def lent(self, path: Path) -> AbstractContextManager[Path]:
        """A file where the process may read it: as it is, or a copy where that is root's alone."""
        if self._user is None:
            self._user = self.call(os.geteuid)
        return nullcontext(path) if self._user == os.geteuid() else lent(path)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.wait()

    def _ask(self, what: str, request: tuple[Any, ...]) -> None:
        try:
            send(self._connection, Said.CALL, request)
        except OSError:
            self._died(what)

    def _heard(self, what: str) -> tuple[Said, Any]:
        """The next message. An error of the function is raised; a process that is gone, or goes now, is replaced."""
        if not self._connection.poll(self._limits.deadline_s):
            self._replace()
            raise ProcessDied(f"{what}: over {self._limits.deadline_s:g} s without an answer", None, "decoder_deadline")
        try:
            said, value = receive(self._connection, self._limits.memory_bytes)
        except (EOFError, OSError):
            self._died(what)
        except Untrustworthy as error:
            self._replace()
            raise ProcessDied(f"{what} gave no plain data ({error}), which", None) from error
        if said is Said.ERROR:
            raise value if isinstance(value, Exception) else ProcessDied(what, None)
        return said, value

    def _died(self, what: str) -> NoReturn:
        try:
            status = self._process.wait(_PARTING_S)
        except subprocess.TimeoutExpired:
            status = None
        self._replace()
        if status == -signal.SIGKILL:
            raise DecoderKilled(f"{what}: its process was killed from outside; is the machine short of memory?")
        raise ProcessDied(what, status, "cpu_limit" if status == -signal.SIGXCPU else CRASHED)

    def _replace(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._start()


def _named(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    return f"{function.__name__}({Path(args[0]).name if args and isinstance(args[0], (str, Path)) else ''})"
