"""How jobs leave a worker: told to the ledger through its outages, counted, and their leases let go."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from services.video.job import CANCELLED, Job
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.workers.claims import Claims
from services.video.workers.failures import Blame, Failure, blame
from services.video.workers.health import Health
from services.video.workers.leases import Holdings
from services.video.workers.patience import Patience
from sora_core import telemetry

log = logging.getLogger(__name__)


class Outcomes:
    """What a worker says about its jobs' ends; safe to use from several threads."""

    def __init__(
        self,
        ledger: Ledger,
        holdings: Holdings,
        patience: Patience,
        claims: Claims,
        health: Health,
        max_losses: int,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._patience = patience
        self._claims = claims
        self._health = health
        self._max_losses = max_losses
        self._clock = clock

    def complete(self, job: Job, result: Mapping[str, Any], expire_after_s: float | None) -> bool:
        """The job has its result; False when its lease is gone, and then the result counts for nothing."""
        expires_at = self._clock() + expire_after_s if expire_after_s else None
        if not self._patience.call(lambda: self._ledger.finish(job.lease, result, expires_at=expires_at)):
            return False
        self._holdings.remove(job.lease)
        self._health.well()
        self._count(job, "completed")
        self._learn(job)
        return True

    def fail(self, job: Job, failure: Failure) -> bool:
        """The job ends without a video, unless somebody else has it; whether it ended."""
        ended = False
        try:
            ended = self._patience.call(lambda: self._ledger.fail(job.lease, failure.code, failure.message))
            if ended:
                self._count(job, "cancelled" if failure.code == CANCELLED else "failed")
        except LedgerUnavailable as error:
            log.error("%s failed (%s) and the ledger can't be told: %s", job.id, failure.message, error)
            self._claims.doubt()
        self._holdings.remove(job.lease)
        return ended

    def drop(self, job: Job) -> bool:
        """The job was cancelled, deleted, or another worker has it; whether it ended."""
        return self.fail(job, Failure(CANCELLED, "cancelled"))

    def give_back(self, job: Job, *, blamed: bool = False) -> None:
        """Another worker may go on with it at once; alone, when the job is ``blamed``."""
        try:
            self._ledger.release(job.lease, blamed=blamed)
        except LedgerUnavailable as error:
            log.warning("%s waits for its lease to run out: %s", job.id, error)
            self._claims.doubt()
        self._holdings.remove(job.lease)

    def went_wrong(self, job: Job, error: Exception) -> bool:
        """An error in the work on a job: whether the job ended by it, or is tried again, here or elsewhere.

        What is the place's fault costs the job nothing. What nobody can tell counts as a loss, as if its worker had
        died of it: the job runs alone next, and fails when it is lost too often.
        """
        whose = blame(error)
        if whose is not Blame.JOB:
            telemetry.VIDEO_FAULTS.inc(1, {"error": type(error).__name__})
        if whose is Blame.JOB or (whose is Blame.UNKNOWN and job.losses + 1 >= self._max_losses):
            log.warning("%s fails: %r", job.id, error)
            if whose is Blame.UNKNOWN:
                self._health.fault(error, job.id)
            return self.fail(job, Failure.of(error))
        log.error("%s is given back, the fault is the %s's: %r", job.id, whose.value, error)
        self._health.fault(error, job.id if whose is Blame.UNKNOWN else None)
        self.give_back(job, blamed=whose is Blame.UNKNOWN)
        return False

    def _learn(self, job: Job) -> None:
        """Let predictions follow what happened."""
        took_s = max(0.0, self._clock() - job.created_at)
        if job.predicted_s:
            telemetry.VIDEO_WAIT_ERROR.observe(abs(job.predicted_s - took_s) / max(took_s, 1e-3))
        if job.reckoned_s:
            try:
                self._ledger.roster.learn_wait(job.model, took_s / job.reckoned_s)
            except LedgerUnavailable as error:
                log.debug("nothing learned of %s: %s", job.id, error)

    def _count(self, job: Job, status: str) -> None:
        telemetry.VIDEO_JOBS_FINISHED.inc(1, {"status": status})
        telemetry.VIDEO_JOB_SECONDS.observe(max(0.0, self._clock() - job.created_at), {"status": status})
