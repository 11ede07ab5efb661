"""Decoders at arm's length: what they are given may kill the process, so it isn't the actor's own."""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from socket import socketpair
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class ProcessDied(Exception):
    """The process that ran a call is gone; ``status`` is its exit status, negative for a signal."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the process ended with {status}")
        self.status = status


class Isolated:
    """A process that runs one call at a time. It starts at once, ends with its owner, and is replaced when it dies."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        ours, theirs = socketpair()
        # Started afresh, not forked: a copy of an actor would hold its threads' locks.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.curate.isolated", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns or raises there; arguments and result are pickled. ProcessDied if it brings the
        process down."""
        try:
            self._connection.send((function, args, kwargs))
            is_result, value = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            status = self._process.wait()
            self._connection.close()
            self._start()
            raise ProcessDied(status) from error
        if is_result:
            result: T = value
            return result
        raise value

    def call_twice(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call`, and once more in a new process that has seen nothing else. ProcessDied if that one dies too."""
        try:
            return self.call(function, *args, **kwargs)
        except ProcessDied as error:
            logger.warning("%s(%s): %s; once more alone", function.__name__, args[0] if args else "", error)
        return self.call(function, *args, **kwargs)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.wait()


def serve(connection: Connection) -> None:
    """Answer calls until the owner is gone."""
    while True:
        try:
            function, args, kwargs = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = pickle.dumps((True, function(*args, **kwargs)))
        except Exception as error:  # noqa: BLE001 - it is raised where the call was made
            answer = pickle.dumps((False, error))
        connection.send_bytes(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
