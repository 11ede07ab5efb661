"""One replica's loop: claim what fits, step the batch, drop what was cancelled, hand finished latents to the decoders.

No Ray here: a thread runs `Sampler.run` in a Serve replica, in a test, or in a script. The loop itself neither reads
nor writes the storage: a loader and a saver do, beside it.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from services.video.config import ServiceConfig
from services.video.job import SAMPLED_PERCENT, Job, Stage
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.scheduler import Candidate, Scheduler
from services.video.workers.claims import Claims
from services.video.workers.device import Device
from services.video.workers.engine import Engine
from services.video.workers.failures import LATE, Failure, is_out_of_memory
from services.video.workers.health import Health
from services.video.workers.leases import Holdings
from services.video.workers.loader import Loaded, Loader, beginning
from services.video.workers.outcomes import Outcomes
from services.video.workers.patience import Patience
from services.video.workers.phases import observe_phase
from services.video.workers.rate import Rate
from services.video.workers.saver import Saver
from services.video.workers.shares import Shares
from sora_core import telemetry
from sora_core.pipeline import Pipeline

log = logging.getLogger(__name__)

_LOADED_S = 0.05  # an empty batch waits so long for what is being loaded


class Sampler:
    """Works off the ledger with one pipeline. `tick` is one round; `run` repeats it, from `begin` to `end`."""

    def __init__(
        self,
        config: ServiceConfig,
        pipeline: Pipeline,
        ledger: Ledger,
        worker: str,
        device: Device | None = None,
        *,
        handed_over: Callable[[], None] = lambda: None,
        cache_threshold: float = 0.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``handed_over`` is called, from another thread, when a job waits for a decoder; ``cache_threshold`` above 0
        is the feature cache's; ``device`` is one that others share."""
        settings = config.sampler
        self.worker = worker
        self._settings = settings
        self._ledger = ledger
        self._clock = clock or ledger.now
        self._handed_over = handed_over
        self._stop = threading.Event()
        self._model = pipeline.name
        self._device = device or Device(pipeline.device)
        self._engine = Engine(pipeline, self._device)
        self._scheduler = Scheduler(settings.token_budget, max_jobs=settings.max_batch, patience_s=settings.patience_s)
        self._holdings = Holdings(ledger, settings.lease_s, settings.stall_s)
        self._health = Health()
        patience = Patience(settings.outage_patience_s, self._stop, self._holdings.moved)
        self._claims = Claims(ledger, self._holdings, worker, settings.lease_s, Stage.SAMPLE)
        self._outcomes = Outcomes(
            ledger, self._holdings, patience, self._claims, self._health, settings.max_attempts, self._clock
        )
        self._saver = Saver(ledger, config.output, patience, settings.save_every_s, pipeline.origin)
        begin = partial(beginning, cache_threshold, settings.refresh_given_every, pipeline.origin)
        self._loader = Loader(begin)
        self._shares = Shares(ledger, pipeline.name)
        self._rate = Rate(ledger, worker, pipeline.name, settings.lease_s)
        self._jobs: dict[str, Job] = {}  # those in the batch, and those being loaded for it
        self._joined: dict[str, float] = {}
        self._stepped_at: float | None = None
        self._retired = False
        self._admit_after = 0.0
        self._look_after = 0.0

    # --- life

    def run(self) -> None:
        """Work until `stop`. An error that no job explains ends it, and its jobs are lost to their leases: one that
        brings every sampler down is not tried for ever."""
        self.begin()
        try:
            while not self._stop.is_set() and not (self._retired and not self._jobs):
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

    def retire(self) -> None:
        """Ask for no further job, and end when those at hand are done; callable from any thread."""
        self._retired = True

    @property
    def ailing(self) -> str | None:
        """What keeps it from working, or None."""
        return self._health.ailing or self._holdings.stalled

    def tick(self) -> bool:
        """One round: renew, drop, admit, step, hand over. Whether there was anything to step."""
        if time.monotonic() >= self._look_after or not self._joined:
            self._look_after = time.monotonic() + self._settings.look_every_s
            self._drop_unwanted()
            self._rate.tell()
            self._admit()
        for loaded in self._loader.take(0.0 if self._joined else _LOADED_S):
            self._start(loaded)
        batch = self._scheduler.batch()
        if batch:
            self._step(batch)
        else:
            self._stepped_at = None
        return bool(batch) or len(self._loader) > 0

    def end(self) -> None:
        """Give back to the queue what is half done, saved as it is, after the last round."""
        self.stop()
        for loaded in self._loader.close():
            self._start(loaded)
        for job_id in list(self._joined):
            self._part_with(job_id)
        self._saver.close()
        self._rate.retire()
        self._holdings.stop()

    # --- joining and leaving

    def _admit(self) -> None:
        """Claim the waiting jobs that the scheduler chooses, and load what they begin with."""
        if self._retired or time.monotonic() < self._admit_after:
            return
        if len(self._holdings) - len(self._jobs) >= self._settings.max_batch:
            return  # storage is behind or away: more finished latents would only fill memory
        try:
            waiting = {job.id: job for job in self._health.trusted(self._ledger.waiting(self._model))}
            share, unclaimed = self._shares.of(waiting)
            candidates = [_candidate(job) for job in waiting.values()]
            chosen = self._scheduler.admit(candidates, self._clock(), share, unclaimed)
            won = self._claims.take([job.id for job in chosen])
            surplus = None if waiting else self._shares.surplus(self._scheduler)
        except LedgerUnavailable as error:
            log.warning("nothing admitted: %s", error)
            return
        for job in won:
            self._jobs[job.id] = job
            self._scheduler.join(_candidate(job), loading=True)
            self._loader.put(job)
        if surplus in self._joined:
            log.info("%s goes to a sampler that has nothing", surplus)
            self._part_with(surplus)

    def _start(self, loaded: Loaded) -> None:
        job = loaded.job
        if self._jobs.get(job.id) is not job:
            return  # it was dropped meanwhile
        try:
            if isinstance(loaded.begin, Exception):
                raise loaded.begin
            with self._device.step():
                self._engine.start(job.id, *loaded.begin)
        except Exception as error:
            log.exception("%s can't start", job.id)
            self._cannot_start(job, error)
            return
        self._scheduler.loaded(job.id)
        self._joined[job.id] = time.monotonic()
        self._saver.join(job, self._engine.generation(job.id).step)
        waited_s = max(0.0, self._clock() - job.created_at)
        if job.attempts == 1:
            telemetry.VIDEO_ADMISSION_SECONDS.observe(waited_s)
            observe_phase("wait", job, waited_s)
        log.info("%s joined with %d tokens; %d jobs in the batch", job.id, job.tokens, len(self._jobs))
        if self._engine.generation(job.id).done:  # its last sampler stopped before it could hand it over
            self._after_step(job)

    def _cannot_start(self, job: Job, error: Exception) -> None:
        self._leave(job.id)
        if is_out_of_memory(error):
            if self._jobs:
                self._outcomes.give_back(job, blamed=True)  # there may be room for it alone
            else:
                self._outcomes.fail(job, Failure.of(error))
            return
        self._device.check(error)
        self._outcomes.went_wrong(job, error)
        self._admit_after = time.monotonic() + self._health.pause_s

    def _drop_unwanted(self) -> None:
        """Renew every lease; a job that was cancelled, deleted, lost or is late takes no further step."""
        revoked = self._holdings.renew()
        for lease in revoked.cancelled | revoked.lost:
            job = self._jobs.get(lease.job_id)
            if job is not None and job.lease == lease:
                self._leave(job.id)
                self._outcomes.drop(job)
        for job_id in self._scheduler.overdue(self._clock()):
            self._outcomes.fail(self._leave(job_id), LATE)

    def _leave(self, job_id: str) -> Job:
        """Take a job out of the batch."""
        self._scheduler.leave(job_id)
        self._engine.drop(job_id)
        job = self._jobs.pop(job_id)
        if self._joined.pop(job_id, None) is not None:
            self._saver.leave(job)
        return job

    def _part_with(self, job_id: str) -> None:
        """Leave a job to another sampler, which goes on at the same step."""
        job = self._jobs[job_id]
        self._saver.part_with(job, self._engine.generation(job_id), lambda: self._outcomes.give_back(job))
        self._leave(job_id)

    # --- stepping

    def _step(self, batch: list[str]) -> None:
        began = time.perf_counter()
        tokens = self._engine.tokens(batch)
        telemetry.VIDEO_BATCH_TOKENS.set(tokens)
        telemetry.VIDEO_BATCH_FILL.set(tokens / self._scheduler.token_budget)
        try:
            errors = self._engine.step(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._lighten(batch, error)
            return
        ended = time.perf_counter()
        self._rate.did(sum(self._jobs[job_id].tokens for job_id in batch), ended - (self._stepped_at or began))
        self._stepped_at = ended
        telemetry.VIDEO_STEP_SECONDS.observe(ended - began)
        telemetry.VIDEO_STEPS.inc(len(batch))
        self._scheduler.stepped(batch)
        self._holdings.moved(job.lease for job in self._jobs.values())
        for job_id in batch:
            if job_id in errors:
                self._outcomes.went_wrong(self._leave(job_id), errors[job_id])
                self._admit_after = time.monotonic() + self._health.pause_s
            else:
                self._after_step(self._jobs[job_id])

    def _lighten(self, batch: list[str], error: Exception) -> None:
        for job_id in self._scheduler.ran_out_of_memory(batch):
            self._outcomes.fail(self._leave(job_id), Failure.of(error))
        log.warning("out of memory in a step of %d; at most %d tokens now", len(batch), self._scheduler.token_budget)

    def _after_step(self, job: Job) -> None:
        generation = self._engine.generation(job.id)
        done, steps = job.window * generation.num_steps + generation.step, job.num_windows * generation.num_steps
        self._holdings.report(job.lease, SAMPLED_PERCENT * done // steps)
        if not generation.done:
            self._saver.save_when_due(job, generation)
            if self._saver.got_on(job.id):
                self._scheduler.cleared(job.id)
            return
        observe_phase("sample", job, time.monotonic() - self._joined[job.id])
        self._saver.hand_over(job, generation, lambda outcome: self._taken(job, outcome))
        self._leave(job.id)

    def _taken(self, job: Job, outcome: Exception | bool) -> None:
        """What became of a job that was handed over; on the saver's thread."""
        if isinstance(outcome, Exception):
            self._outcomes.went_wrong(job, outcome)
            self._admit_after = time.monotonic() + self._health.pause_s
        elif outcome:
            self._holdings.remove(job.lease)
            self._health.well()
            self._handed_over()
        else:
            self._outcomes.drop(job)


def _candidate(job: Job) -> Candidate:
    """A job with the steps of its window at hand."""
    steps = job.num_steps // job.num_windows
    return Candidate(job.id, job.owner, job.tokens, steps, job.created_at, job.deadline_at, alone=job.losses > 0)
