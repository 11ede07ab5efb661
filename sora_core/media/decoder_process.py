"""The other end of `sora_core.media.isolated`: answers calls until its owner is gone."""

import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sora_core.errors import UnreadableMedia
from sora_core.media.lent import NOBODY
from sora_core.media.messages import Said, receive, send


def serve(connection: Connection, cpu_s: int) -> None:
    """Answer calls, each with so many CPU seconds."""
    while True:
        try:
            _, (function, args, kwargs, is_many) = receive(connection)
            _allow(cpu_s)
            for said, value in _answers(function, args, kwargs, is_many):
                send(connection, said, value)
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001 - it is raised where the call was made
            send(connection, Said.ERROR, error)


def _answers(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], is_many: bool
) -> Iterator[tuple[Said, Any]]:
    try:
        if not is_many:
            yield Said.RESULT, function(*args, **kwargs)
            return
        for item in function(*args, **kwargs):
            yield Said.ITEM, item
        yield Said.END, None
    except MemoryError as error:
        raise UnreadableMedia(
            f"{function.__name__} needs more memory than it may take; scale the file down or shorten it",
            reason="memory_limit",
        ) from error


def _allow(cpu_s: int) -> None:
    """So many CPU seconds from now on; what the process has used before doesn't count."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_s + 1, most))


def _bound_memory(most: int) -> None:
    """Writable memory, files that are only read aside; no core is dumped of it."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def become_nobody(places: Iterable[str]) -> None:
    """Root gives up being root where its code, in ``places``, can be read without; others stay who they are."""
    if os.geteuid() != 0:
        return
    os.seteuid(NOBODY)
    # Asked as the effective user, which `os.access` doesn't do by default.
    may_read = all(os.access(place, os.R_OK | os.X_OK, effective_ids=True) for place in places)
    os.seteuid(0)
    if may_read:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


if __name__ == "__main__":
    become_nobody({sys.base_prefix, sys.prefix, *(place for place in sys.path if Path(place).is_dir())})
    _bound_memory(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])), int(sys.argv[3]))
