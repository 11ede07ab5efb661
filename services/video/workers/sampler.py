"""One replica's loop: claim what fits, step the batch, drop what was cancelled, hand finished latents to the decoders.

No Ray here: a thread runs `Sampler.run` in a Serve replica, in a test, or in a script.
"""

import logging
import threading
import time
from collections.abc import Callable

from services.video.config import ServiceConfig
from services.video.job import SAMPLED_PERCENT, Job
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.scheduler import Candidate, Scheduler
from services.video.workers import latents
from services.video.workers.engine import Engine
from services.video.workers.failures import LATE, Failure, is_out_of_memory
from services.video.workers.films import request_of
from services.video.workers.housekeeping import Housekeeper
from services.video.workers.leases import Holdings
from services.video.workers.outcomes import Outcomes
from services.video.workers.patience import Patience
from services.video.workers.phases import observe_phase
from services.video.workers.rate import Rate
from services.video.workers.saver import Saver
from sora_core import telemetry
from sora_core.errors import StorageUnavailable
from sora_core.pipeline import Pipeline

log = logging.getLogger(__name__)

_PAUSE_S = 1.0  # before the next admission when the storage is away


class Sampler:
    """Works off the ledger with one pipeline. `tick` is one round; `run` repeats it, from `begin` to `end`."""

    def __init__(
        self,
        config: ServiceConfig,
        pipeline: Pipeline,
        ledger: Ledger,
        worker: str,
        *,
        handed_over: Callable[[], None] = lambda: None,
        cache_threshold: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``handed_over`` is called, from another thread, when a job waits for a decoder; ``cache_threshold`` above 0
        is the feature cache's."""
        settings = config.sampler
        self.worker = worker
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._handed_over = handed_over
        self._cache_threshold = cache_threshold
        self._stop = threading.Event()
        self._model = pipeline.name
        self._engine = Engine(pipeline)
        self._scheduler = Scheduler(settings.token_budget, max_jobs=settings.max_batch, patience_s=settings.patience_s)
        self._holdings = Holdings(ledger, settings.lease_s)
        patience = Patience(settings.outage_patience_s, self._stop)
        self._outcomes = Outcomes(ledger, self._holdings, patience, clock)
        self._saver = Saver(ledger, config.output, patience, settings.save_every_s)
        self._housekeeper = Housekeeper(config, ledger)
        self._rate = Rate(ledger, worker, pipeline.name, settings.lease_s)
        self._jobs: dict[str, Job] = {}  # those in the batch
        self._joined: dict[str, float] = {}
        self._admit_after = 0.0
        self._look_after = 0.0

    # --- life

    def run(self) -> None:
        """Work until `stop`. An error that no job explains ends it, and its jobs are lost to their leases: one that
        brings every sampler down is not tried for ever."""
        self.begin()
        try:
            while not self._stop.is_set():
                if not self.tick():
                    self._stop.wait(self._settings.idle_poll_s)
        except Exception:
            self._holdings.stop()
            raise
        self.end()

    def begin(self) -> None:
        """Keep leases alive from now on, however long a round takes."""
        self._holdings.start()

    def stop(self) -> None:
        """Ask the loop to end; callable from any thread, more than once."""
        self._stop.set()

    def tick(self) -> bool:
        """One round: renew, drop, admit, step, hand over. Whether there was anything to step."""
        if time.monotonic() >= self._look_after or not self._jobs:
            self._look_after = time.monotonic() + self._settings.look_every_s
            self._drop_unwanted()
            self._housekeeper.tend()
            self._rate.tell()
            self._admit()
        batch = self._scheduler.batch()
        if batch:
            self._step(batch)
        return bool(batch)

    def end(self) -> None:
        """Give back to the queue what is half done, saved as it is, after the last round."""
        self.stop()
        for job_id in self._scheduler.jobs:
            job = self._jobs[job_id]
            self._saver.save_now(job, self._engine.generation(job_id))
            self._leave(job_id)
            self._outcomes.give_back(job)
        self._saver.close()
        self._holdings.stop()

    # --- joining and leaving

    def _admit(self) -> None:
        """Claim the waiting jobs that the scheduler chooses, and start them."""
        if len(self._holdings) - len(self._jobs) >= self._settings.max_batch or time.monotonic() < self._admit_after:
            return  # storage is behind or away: more finished latents would only fill memory
        try:
            waiting = {job.id: job for job in self._ledger.waiting(self._model)}
            chosen = self._scheduler.admit([_candidate(job) for job in waiting.values()], self._clock())
            won = self._ledger.claim([job.id for job in chosen], self.worker, self._settings.lease_s)
        except LedgerUnavailable as error:
            log.warning("nothing admitted: %s", error)
            return
        for job in won:
            self._holdings.add(job.lease, job.progress)
            self._start(job)

    def _start(self, job: Job) -> None:
        try:
            request = request_of(job, self._cache_threshold, self._settings.refresh_given_every)
            self._engine.start(job.id, request, self._saved_state(job))
        except StorageUnavailable as error:
            log.warning("%s waits for the storage: %s", job.id, error)
            self._admit_after = time.monotonic() + _PAUSE_S
            self._outcomes.give_back(job)
            return
        except Exception as error:
            log.exception("%s can't start", job.id)
            self._outcomes.fail(job, Failure.of(error))
            return
        self._scheduler.join(_candidate(job))
        self._jobs[job.id], self._joined[job.id] = job, time.monotonic()
        self._saver.join(job, self._engine.generation(job.id).step)
        waited_s = max(0.0, self._clock() - job.created_at)
        if job.attempts == 1:
            telemetry.VIDEO_ADMISSION_SECONDS.observe(waited_s)
            observe_phase("wait", job, waited_s)
        log.info("%s joined with %d tokens; %d jobs in the batch", job.id, job.tokens, len(self._jobs))
        if self._engine.generation(job.id).done:  # its last sampler stopped before it could hand it over
            self._after_step(job)

    def _saved_state(self, job: Job) -> latents.State | None:
        """Where an earlier attempt was; None to begin at the beginning."""
        if job.saved is None:
            return None
        try:
            return latents.read(job.saved)
        except latents.LatentsLost as error:
            log.warning("%s begins again: %s", job.id, error)
            return None

    def _drop_unwanted(self) -> None:
        """Renew every lease; a job that was cancelled, deleted, lost or is late takes no further step."""
        revoked = self._holdings.renew()
        for lease in revoked.cancelled | revoked.lost:
            job = self._jobs.get(lease.job_id)
            if job is not None and job.lease == lease:
                self._leave(job.id)
                self._outcomes.drop(job)
        for job_id in self._scheduler.overdue(self._clock()):
            self._fail(job_id, LATE)

    def _leave(self, job_id: str) -> Job:
        """Take a job out of the batch."""
        self._scheduler.leave(job_id)
        self._engine.drop(job_id)
        del self._joined[job_id]
        job = self._jobs.pop(job_id)
        self._saver.leave(job)
        return job

    def _fail(self, job_id: str, failure: Failure) -> None:
        self._outcomes.fail(self._leave(job_id), failure)

    # --- stepping

    def _step(self, batch: list[str]) -> None:
        began = time.perf_counter()
        tokens = self._engine.tokens(batch)
        telemetry.VIDEO_BATCH_TOKENS.set(tokens)
        telemetry.VIDEO_BATCH_FILL.set(tokens / self._scheduler.token_budget)
        try:
            failures = self._engine.step(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._make_room(batch, error)
            return
        elapsed_s = time.perf_counter() - began
        self._rate.stepped(sum(self._jobs[job_id].tokens for job_id in batch), elapsed_s)
        telemetry.VIDEO_STEP_SECONDS.observe(elapsed_s)
        telemetry.VIDEO_STEPS.inc(len(batch))
        self._scheduler.stepped(batch)
        for job_id in batch:
            if job_id in failures:
                self._fail(job_id, failures[job_id])
            else:
                self._after_step(self._jobs[job_id])

    def _make_room(self, batch: list[str], error: Exception) -> None:
        for job_id in self._scheduler.ran_out_of_memory(batch):
            self._fail(job_id, Failure.of(error))
        log.warning("out of memory in a step of %d; at most %d tokens now", len(batch), self._scheduler.token_budget)

    def _after_step(self, job: Job) -> None:
        generation = self._engine.generation(job.id)
        done, steps = job.window * generation.num_steps + generation.step, job.num_windows * generation.num_steps
        self._holdings.report(job.lease, SAMPLED_PERCENT * done // steps)
        if not generation.done:
            self._saver.save_when_due(job, generation)
            return
        observe_phase("sample", job, time.monotonic() - self._joined[job.id])
        self._saver.hand_over(job, generation, lambda outcome: self._taken(job, outcome))
        self._leave(job.id)

    def _taken(self, job: Job, outcome: Exception | bool) -> None:
        """What became of a job that was handed over; on the saver's thread."""
        if isinstance(outcome, Exception):
            self._outcomes.fail(job, Failure.of(outcome))
        elif outcome:
            self._holdings.remove(job.lease)
            self._handed_over()
        else:
            self._outcomes.drop(job)


def _candidate(job: Job) -> Candidate:
    """A job with the steps of its window at hand."""
    steps = job.num_steps // job.num_windows
    return Candidate(job.id, job.owner, job.tokens, steps, job.queued_as, job.deadline_at)
