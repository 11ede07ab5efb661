"""The processes in which strangers' files are decoded: with nothing in their environment, and bounded in memory and
time, so that what a file does to its decoder happens to nobody else."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from services.video.errors import unavailable
from sora_core.media import DecoderKilled, Isolated, Limits

_RETRY_S = 5


class Decoders:
    """At most ``at_once`` processes, each started when it is first needed. Safe to use from several threads."""

    def __init__(self, at_once: int, limits: Limits) -> None:
        self._limits = limits
        self._places = threading.BoundedSemaphore(at_once)
        self._idle: queue.LifoQueue[Isolated] = queue.LifoQueue()

    @contextmanager
    def process(self) -> Iterator[Isolated]:
        """A process for one file. ApiError 503 where the machine has no memory for it."""
        with self._places:
            try:
                process = self._idle.get_nowait()
            except queue.Empty:
                process = Isolated(self._limits)
            try:
                yield process
            except DecoderKilled as error:
                raise unavailable("the machine is short of memory: try again soon", retry_after_s=_RETRY_S) from error
            finally:
                self._idle.put(process)

    def close(self) -> None:
        """End the processes, which nobody uses any more."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
