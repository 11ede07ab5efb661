"""Stores latents beside the sampling, on a thread of its own, so that no step waits for storage."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from services.video.job import SAMPLED_PERCENT, Job
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.workers import latents
from services.video.workers.patience import Patience
from sora_core.errors import StorageError
from sora_core.pipeline import Generation

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Saved:
    """What is stored of a job, and when it was last looked at."""

    uri: str | None
    step: int
    joined_at: int
    since: float = field(default_factory=time.monotonic)
    pending: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self.pending is not None and not self.pending.done()


class Saver:
    """Saves half-sampled jobs every ``every_s`` seconds, and hands over those that are done."""

    def __init__(
        self, ledger: Ledger, output: str, patience: Patience, every_s: float | None, origin: dict[str, str]
    ) -> None:
        """``origin`` is what the latents are tied to."""
        self._origin = origin
        self._ledger = ledger
        self._output = output
        self._patience = patience
        self._every_s = every_s
        self._saved: dict[str, _Saved] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")

    def join(self, job: Job, step: int) -> None:
        """A job enters the batch at this step."""
        self._saved[job.id] = _Saved(job.saved, step, step)

    def leave(self, job: Job) -> None:
        """A job is in the batch no more, and nothing further is stored of it."""
        self._saved.pop(job.id, None)

    def save_when_due(self, job: Job, generation: Generation) -> None:
        """Save a job whose last save is long ago and over."""
        saved = self._saved[job.id]
        if self._every_s is None or saved.is_busy or time.monotonic() - saved.since < self._every_s:
            return
        self._submit(job, generation, saved)

    def got_on(self, job_id: str) -> bool:
        """Whether a job was saved at a later step than it joined at."""
        saved = self._saved[job_id]
        return saved.step > saved.joined_at

    def part_with(self, job: Job, generation: Generation, then: Callable[[], None]) -> None:
        """Save a job that is given up here as it is; ``then`` is called once that is done, or has failed."""
        saved, state, step = self._saved.pop(job.id), generation.state(), generation.step

        def store() -> None:
            if self._every_s is not None and step > saved.step:
                self._save(job, state, step, saved)
            then()

        self._thread.submit(store)

    def hand_over(self, job: Job, generation: Generation, then: Callable[[Exception | bool], None]) -> None:
        """Leave a finished job to the decoders; ``then`` hears whether it was taken, or why that failed."""
        saved, step = self._saved.pop(job.id), generation.step
        state = {"latent": generation.state()["latent"]}
        progress = SAMPLED_PERCENT * (job.window + 1) // job.num_windows

        def store() -> None:
            uri = latents.place(self._output, job, step)
            try:
                self._patience.call(lambda: latents.write(uri, state, self._origin))
                taken = self._patience.call(lambda: self._ledger.hand_over(job.lease, uri, progress))
            except Exception as error:
                log.exception("%s can't be handed over", job.id)
                then(error)
                return
            latents.discard(saved.uri if taken else uri)
            then(taken)

        self._thread.submit(store)

    def close(self) -> None:
        """Return when everything is stored."""
        self._thread.shutdown(wait=True)

    def _submit(self, job: Job, generation: Generation, saved: _Saved) -> None:
        state, step = generation.state(), generation.step
        saved.since = time.monotonic()
        saved.pending = self._thread.submit(self._save, job, state, step, saved)

    def _save(self, job: Job, state: latents.State, step: int, saved: _Saved) -> None:
        """One that fails costs nothing but the steps since the last."""
        uri = latents.place(self._output, job, step)
        try:
            latents.write(uri, state, self._origin)
            kept = self._ledger.save(job.lease, uri)
        except (StorageError, LedgerUnavailable) as error:
            log.warning("%s is not saved at step %d: %s", job.id, step, error)
            return
        latents.discard(saved.uri if kept else uri)
        if kept:
            saved.uri, saved.step = uri, step
