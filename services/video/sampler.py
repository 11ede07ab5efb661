"""One replica's loop: claim what fits, step the batch, drop what was cancelled, hand finished latents to the renderer.

No Ray here: a thread runs `Sampler.run` in a Serve replica, in a test, or in a script.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.video.config import ServiceConfig
from services.video.engine import Engine, Failure, is_out_of_memory
from services.video.housekeeping import Housekeeper
from services.video.job import CANCELLED, Job
from services.video.leases import Holdings
from services.video.ledger import Ledger
from services.video.patience import Patience
from services.video.render import Renderer
from services.video.scheduler import Candidate, Scheduler
from services.video.tables import LedgerUnavailable
from sora_core import media, storage, telemetry
from sora_core.errors import StorageError
from sora_core.pipeline import Generation, Pipeline, Request

log = logging.getLogger(__name__)

_STEPS_PERCENT = 90  # of a job's progress; rendering is the rest


class Dropped(Exception):
    """The job isn't wanted any more."""


@dataclass(slots=True)
class _Held:
    """A claimed job; ``dropped`` stops its rendering."""

    job: Job
    dropped: threading.Event = field(default_factory=threading.Event)


def worker_name() -> str:
    """A name that no other sampler has, and that says where to look."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class Sampler:
    """Works off the ledger with one pipeline. `tick` is one round; `run` repeats it, from `begin` to `end`."""

    def __init__(
        self,
        config: ServiceConfig,
        pipeline: Pipeline,
        ledger: Ledger,
        *,
        worker: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        settings = config.sampler
        self.worker = worker or worker_name()
        self._settings = settings
        self._config = config
        self._ledger = ledger
        self._clock = clock
        self._stop = threading.Event()
        self._patience = Patience(settings.outage_patience_s, self._stop)
        self._model = pipeline.name
        self._engine = Engine(pipeline)
        self._renderer = Renderer(pipeline, config.output, self._patience, crf=settings.crf)
        self._scheduler = Scheduler(settings.token_budget, max_jobs=settings.max_batch, patience_s=settings.patience_s)
        self._holdings = Holdings(ledger, settings.lease_s)
        self._housekeeper = Housekeeper(config, ledger, self.worker, pipeline.name)
        self._held: dict[str, _Held] = {}
        self._rendering = ThreadPoolExecutor(1, thread_name_prefix="render")

    # --- life

    def run(self) -> None:
        """Work until `stop`."""
        self.begin()
        try:
            while not self._stop.is_set():
                if not self.tick():
                    self._stop.wait(self._settings.idle_poll_s)
        finally:
            self.end()

    def begin(self) -> None:
        """Keep leases alive from now on, however long a round takes."""
        self._holdings.start()

    def stop(self) -> None:
        """Ask the loop to end; callable from any thread, more than once."""
        self._stop.set()

    def tick(self) -> bool:
        """One round: renew, drop, admit, step, hand over. Whether there was anything to step."""
        self._drop_unwanted()
        self._housekeeper.tend()
        self._admit()
        batch = self._scheduler.batch()
        if batch:
            self._step(batch)
        return bool(batch)

    def end(self) -> None:
        """Give back to the queue what is half done, after the last round; what is being rendered is finished first."""
        self.stop()
        for job_id in self._scheduler.jobs:
            held = self._leave(job_id)
            try:
                self._ledger.release(held.job.lease)
            except LedgerUnavailable as error:
                log.warning("%s waits for its lease to run out: %s", job_id, error)
            self._forget(held)
        self._rendering.shutdown(wait=True)
        self._holdings.stop()

    # --- joining and leaving

    def _admit(self) -> None:
        """Claim the waiting jobs that the scheduler chooses, and start them."""
        if len(self._held) - len(self._scheduler.jobs) >= self._settings.max_batch:
            return  # the renderer is behind; more finished latents would only fill memory
        try:
            waiting = {job.id: job for job in self._ledger.waiting(self._model)}
            chosen = self._scheduler.admit([_candidate(job) for job in waiting.values()], self._clock())
            won = self._ledger.claim([job.id for job in chosen], self.worker, self._settings.lease_s)
        except LedgerUnavailable as error:
            log.warning("nothing admitted: %s", error)
            return
        for job in won:
            held = self._held[job.id] = _Held(job)
            self._holdings.add(job.lease)
            self._start(held)

    def _start(self, held: _Held) -> None:
        job = held.job
        try:
            self._engine.start(job.id, self._request(job))
        except Exception as error:
            log.exception("%s can't start", job.id)
            self._fail(held, Failure.of(error))
            return
        self._scheduler.join(_candidate(job))
        log.info("%s joined with %d tokens; %d jobs in the batch", job.id, job.tokens, len(self._scheduler.jobs))

    def _request(self, job: Job) -> Request:
        params = job.params
        picture = params["input"]
        return Request(
            prompt=params["prompt"],
            negative_prompt=params["negative_prompt"],
            num_frames=params["num_frames"],
            height=params["height"],
            width=params["width"],
            num_inference_steps=job.num_steps,
            guidance_scale=params["guidance_scale"],
            seed=params["seed"],
            image=media.decode_image(storage.read_bytes(picture)) if picture else None,
        )

    def _drop_unwanted(self) -> None:
        """Renew every lease; a job that was cancelled, deleted or lost takes no further step."""
        revoked = self._holdings.renew()
        for lease in revoked.cancelled | revoked.lost:
            held = self._held.get(lease.job_id)
            if held is None or held.job.lease != lease:
                continue
            held.dropped.set()
            if lease.job_id not in self._scheduler.jobs:
                continue  # its rendering notices
            self._leave(lease.job_id)
            self._end_unwanted(held)

    def _leave(self, job_id: str) -> _Held:
        """Take a job out of the batch."""
        self._scheduler.leave(job_id)
        self._engine.drop(job_id)
        return self._held[job_id]

    # --- stepping

    def _step(self, batch: list[str]) -> None:
        began = time.perf_counter()
        tokens = self._engine.tokens(batch)
        telemetry.VIDEO_BATCH_TOKENS.set(tokens)
        try:
            failures = self._engine.step(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._make_room(batch, error)
            return
        elapsed_s = time.perf_counter() - began
        self._housekeeper.stepped(sum(self._held[job_id].job.tokens for job_id in batch), elapsed_s)
        telemetry.VIDEO_STEP_SECONDS.observe(elapsed_s)
        telemetry.VIDEO_STEPS.inc(len(batch))
        self._scheduler.stepped(batch)
        for job_id, failure in failures.items():
            self._fail(self._leave(job_id), failure)
        for job_id in batch:
            if job_id not in failures:
                self._after_step(self._held[job_id])

    def _make_room(self, batch: list[str], error: Exception) -> None:
        for job_id in self._scheduler.ran_out_of_memory(batch):
            self._fail(self._leave(job_id), Failure.of(error))
        log.warning("out of memory in a step of %d; at most %d tokens now", len(batch), self._scheduler.token_budget)

    def _after_step(self, held: _Held) -> None:
        job = held.job
        self._holdings.report(job.lease, int(_STEPS_PERCENT * self._engine.done_part(job.id)))
        if self._engine.is_done(job.id):
            generation = self._engine.take(job.id)
            self._scheduler.leave(job.id)
            self._rendering.submit(self._render, held, generation)

    # --- ending, on the renderer's thread or the loop's

    def _render(self, held: _Held, generation: Generation) -> None:
        job, began = held.job, time.perf_counter()
        frames = job.params["num_frames"]

        def on_frame(index: int) -> None:
            if held.dropped.is_set():
                raise Dropped
            self._holdings.report(job.lease, _STEPS_PERCENT + (99 - _STEPS_PERCENT) * (index + 1) // frames)

        try:
            result = self._renderer.render(job, generation, on_frame)
            expires_at = self._clock() + self._config.expire_after_s if self._config.expire_after_s else None
            if not self._patience.call(lambda: self._ledger.finish(job.lease, result, expires_at=expires_at)):
                raise Dropped
        except Dropped:
            self._end_unwanted(held)
        except Exception as error:
            log.exception("%s can't be rendered", job.id)
            self._fail(held, Failure.of(error))
        else:
            telemetry.VIDEO_DECODE_SECONDS.observe(time.perf_counter() - began)
            self._count(job, "completed")
            self._forget(held)

    def _fail(self, held: _Held, failure: Failure) -> None:
        job = held.job
        try:
            if self._patience.call(lambda: self._ledger.fail(job.lease, failure.code, failure.message)):
                self._count(job, "failed")
        except LedgerUnavailable as error:
            log.error("%s failed (%s) and the ledger can't be told: %s", job.id, failure.message, error)
        self._forget(held)

    def _end_unwanted(self, held: _Held) -> None:
        """End a job that was cancelled, or that another worker has; what it stored goes."""
        self._fail(held, Failure(CANCELLED, "cancelled"))
        try:
            self._renderer.discard(held.job)
        except StorageError as error:
            log.warning("files of %s stay behind: %s", held.job.id, error)

    def _forget(self, held: _Held) -> None:
        self._holdings.remove(held.job.lease)
        if self._held.get(held.job.id) is held:  # not a later attempt at the same job
            del self._held[held.job.id]

    def _count(self, job: Job, status: str) -> None:
        telemetry.VIDEO_JOBS_FINISHED.inc(1, {"status": status})
        telemetry.VIDEO_JOB_SECONDS.observe(max(0.0, self._clock() - job.created_at), {"status": status})


def _candidate(job: Job) -> Candidate:
    return Candidate(job.id, job.owner, job.tokens, job.num_steps, job.queued_as)
