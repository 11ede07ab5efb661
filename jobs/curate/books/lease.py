"""One writer at a time: a lease on an output, which its holder renews and another takes over when the holder is dead.

Holders are numbered. The lease of a number is an object that only the first writer can create; its holder overwrites
it again and again, so whoever sees it unchanged for long enough knows that nobody is there, by his own clock alone. To
take over is to create the next number, which again only one can; the former holder, should he live, sees it and stops.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from sora_core import storage
from sora_core.errors import ConfigError, MissingObject, SoraError, StorageError

logger = logging.getLogger(__name__)

_FOLDER = "writer"
# Tokens of leases that this process holds or asks for: one of its own that isn't among them is nobody's.
_ours: set[str] = set()
RENEW_S = 10.0
DEAD_AFTER_S = 60.0


class LeaseLost(SoraError):
    """Another writer took the output over, since this one hadn't been heard of for too long."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, and how often it was renewed. The ``token`` is another for each lease."""

    host: str
    pid: int
    since: str
    renewals: int = 0
    token: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    def is_gone(self) -> bool:
        """Whether it was a process of this machine that is no more, or has let go of the lease."""
        if self.host != socket.gethostname():
            return False
        if self.pid == os.getpid():
            return self.token not in _ours
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Lease:
    """The right to write under an output, while it is held."""

    def __init__(self, output: str, number: int, holder: Holder) -> None:
        self._output = output
        self._number = number
        self._holder = holder
        self._lost = False

    def check(self) -> None:
        """LeaseLost when another has taken over: to be asked before anything is removed."""
        if self._lost or max(_numbers(self._output), default=-1) != self._number:
            self._lost = True
            raise LeaseLost(
                f"{self._output}: another run took over from {self._holder}, which wasn't heard of for "
                f"{DEAD_AFTER_S:.0f} s; nothing was removed; let it end, then run the same command"
            )

    def renew(self) -> None:
        """Say that the holder lives."""
        self.check()
        self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
        storage.write_bytes(_uri(self._output, self._number), _bytes(self._holder))

    def release(self) -> None:
        """Let the next one in."""
        try:
            for number in [] if self._lost else _numbers(self._output):
                if number <= self._number:
                    storage.delete(_uri(self._output, number))
        finally:  # not before: another thread would take over what is being given back
            _ours.discard(self._holder.token)


@contextmanager
def held(output: str, *, renew_s: float = RENEW_S, dead_after_s: float = DEAD_AFTER_S) -> Iterator[Lease]:
    """The lease on an output, renewed by a thread until the block ends.

    ConfigError when another run writes there. Whether a holder on another machine lives is watched for
    ``dead_after_s``.
    """
    lease = acquire(output, dead_after_s)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(renew_s):
            try:
                lease.renew()
            except StorageError as error:
                logger.warning("the lease couldn't be renewed: %s", error)
            except LeaseLost as error:
                logger.error("%s", error)
                return

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()
        with suppress(StorageError):
            lease.release()


def acquire(output: str, dead_after_s: float = DEAD_AFTER_S) -> Lease:
    """The lease, once nobody living holds it. ConfigError names a holder that lives."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    me = Holder(socket.gethostname(), os.getpid(), now, token=uuid.uuid4().hex)
    _ours.add(me.token)
    try:
        while True:
            number = max(_numbers(output), default=-1)
            dead = _dead_holder(output, number, dead_after_s) if number >= 0 else None
            if number >= 0 and dead is None:
                continue  # it was given back meanwhile
            if storage.write_bytes(_uri(output, number + 1), _bytes(me), if_absent=True):
                if _is_alone(output, number + 1, dead):
                    return Lease(output, number + 1, me)
                storage.delete(_uri(output, number + 1))
    except BaseException:
        _ours.discard(me.token)
        raise


def _is_alone(output: str, number: int, dead: Holder | None) -> bool:
    """Whether nobody else has got a lease. Between a look and what is written after it a lease may be given back, and
    the numbers begin anew: one run creates the first and another the next of the old ones. Each looks again after it
    has written, so that one of them at least sees the other."""
    return max(_numbers(output), default=number) == number and (
        number == 0 or _read(output, number - 1) in (None, dead)
    )


def _dead_holder(output: str, number: int, dead_after_s: float) -> Holder | None:
    """A lease's holder that is gone; None when the lease is. ConfigError when it is renewed."""
    seen = _read(output, number)
    if seen is None:
        return None
    deadline = time.monotonic() + dead_after_s
    while not seen.is_gone() and time.monotonic() < deadline:
        logger.info("%s is being written by %s; watching whether it lives", output, seen)
        time.sleep(min(1.0, dead_after_s / 10))
        now = _read(output, number)
        if now is None or max(_numbers(output), default=number) > number:
            return None
        if now != seen:
            raise ConfigError(f"output = {output} is being written by another run ({now}): wait for it, or end it")
    logger.warning("%s was being written by %s, which is gone: taken over", output, seen)
    return seen


def _numbers(output: str) -> list[int]:
    try:
        found = list(storage.list_objects(storage.join(output, _FOLDER)))
    except MissingObject:
        return []
    return [int(storage.name(item.uri).removesuffix(".json")) for item in found]


def _uri(output: str, number: int) -> str:
    return storage.join(output, _FOLDER, f"{number:06d}.json")


def _read(output: str, number: int) -> Holder | None:
    try:
        return Holder(**json.loads(storage.read_bytes(_uri(output, number))))
    except MissingObject:
        return None


def _bytes(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()
