"""Fetches what jobs begin with, clips and saved latents, so that no step waits for the storage."""

import logging
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from services.video.job import Job
from services.video.workers import latents
from services.video.workers.films import request_of
from services.video.workers.latents import State
from sora_core.pipeline import Request

log = logging.getLogger(__name__)

_AT_ONCE = 2


def beginning(
    cache_threshold: float, refresh_given_every: int, origin: Mapping[str, str], job: Job
) -> tuple[Request, latents.State | None]:
    """What a job begins with, out of the storage: what is asked for, and where an earlier attempt was."""
    request = request_of(job, cache_threshold, refresh_given_every)
    if job.saved is None:
        return request, None
    try:
        return request, latents.read(job.saved, origin)
    except latents.LatentsLost as error:
        log.warning("%s begins again: %s", job.id, error)
        return request, None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job with what it begins with, or the error instead."""

    job: Job
    begin: tuple[Request, State | None] | Exception


class Loader:
    """Jobs go in, and come out with what they begin with, in any order."""

    def __init__(self, load: Callable[[Job], tuple[Request, State | None]]) -> None:
        self._load = load
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="loader")
        self._ready: queue.SimpleQueue[Loaded] = queue.SimpleQueue()
        self._loading = 0

    def put(self, job: Job) -> None:
        """Fetch for a job; one that has nothing in the storage is ready at once."""
        self._loading += 1
        stored = job.saved is not None or job.params["film"] is not None or job.params.get("references")
        if stored:
            self._threads.submit(self._fetch, job)
        else:
            self._fetch(job)

    def __len__(self) -> int:
        """How many are in."""
        return self._loading

    def take(self, wait_s: float = 0.0) -> list[Loaded]:
        """What has come out, waiting a little for the first; called by the thread that puts."""
        loaded: list[Loaded] = []
        while self._loading:
            try:
                one = self._ready.get(timeout=wait_s) if wait_s and not loaded else self._ready.get_nowait()
            except queue.Empty:
                break
            self._loading -= 1
            loaded.append(one)
        return loaded

    def close(self) -> list[Loaded]:
        """Wait for what is being fetched; everything that nobody took."""
        self._threads.shutdown(wait=True, cancel_futures=False)
        return self.take()

    def _fetch(self, job: Job) -> None:
        try:
            self._ready.put(Loaded(job, self._load(job)))
        except Exception as error:
            log.exception("what %s begins with can't be read", job.id)
            self._ready.put(Loaded(job, error))
