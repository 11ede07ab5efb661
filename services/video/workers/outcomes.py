"""How jobs end: told to the ledger through its outages, counted, and their leases let go."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from services.video.job import CANCELLED, Job
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.workers.failures import Failure
from services.video.workers.leases import Holdings
from services.video.workers.patience import Patience
from sora_core import telemetry

log = logging.getLogger(__name__)


class Outcomes:
    """What a worker says about its jobs' ends; safe to use from several threads."""

    def __init__(self, ledger: Ledger, holdings: Holdings, patience: Patience, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._patience = patience
        self._clock = clock

    def complete(self, job: Job, result: Mapping[str, Any], expire_after_s: float | None) -> bool:
        """The job has its result; False when its lease is gone, and then the result counts for nothing."""
        expires_at = self._clock() + expire_after_s if expire_after_s else None
        if not self._patience.call(lambda: self._ledger.finish(job.lease, result, expires_at=expires_at)):
            return False
        self._holdings.remove(job.lease)
        self._count(job, "completed")
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
        self._holdings.remove(job.lease)
        return ended

    def drop(self, job: Job) -> bool:
        """The job was cancelled, deleted, or another worker has it; whether it ended."""
        return self.fail(job, Failure(CANCELLED, "cancelled"))

    def give_back(self, job: Job) -> None:
        """Another worker may go on with it at once."""
        try:
            self._ledger.release(job.lease)
        except LedgerUnavailable as error:
            log.warning("%s waits for its lease to run out: %s", job.id, error)
        self._holdings.remove(job.lease)

    def _count(self, job: Job, status: str) -> None:
        telemetry.VIDEO_JOBS_FINISHED.inc(1, {"status": status})
        telemetry.VIDEO_JOB_SECONDS.observe(max(0.0, self._clock() - job.created_at), {"status": status})
