"""What a worker does for all between its own jobs: jobs of dead workers, files that nobody wants."""

import logging
import time

from services.video.config import ServiceConfig
from services.video.files import job_folder, work_folder
from services.video.job import Job
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from sora_core import storage, telemetry
from sora_core.errors import StorageError

log = logging.getLogger(__name__)

_KEY_LIFETIME_S = 24 * 3600.0


class Housekeeper:
    """`tend` is cheap to call: it acts a few times within the length of a lease."""

    def __init__(self, config: ServiceConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._due = 0.0
        self._reclaim_after = 0.0

    def tend(self) -> None:
        """Put jobs of dead workers back in the queue, remove files of deleted and work files of closed jobs."""
        now = time.monotonic()
        if now < self._due:
            return
        settings = self._config.sampler
        self._due = now + min(5.0, settings.lease_s / 4)
        try:
            if now >= self._reclaim_after:
                self._reclaim()
            self._ledger.forget_requests(_KEY_LIFETIME_S)
            remove_deleted(self._ledger, self._config.output)
            all(tidy(self._ledger, self._config.output, job) for job in self._ledger.littered())
        except LedgerUnavailable as error:
            log.warning("housekeeping put off: %s", error)
            # No worker could renew its leases: each gets the time to do so before they count as run out.
            self._reclaim_after = now + settings.lease_s

    def _reclaim(self) -> None:
        reclaimed = self._ledger.reclaim(self._config.sampler.max_attempts)
        if reclaimed:
            log.warning("%d jobs had lost their worker or missed their deadline", reclaimed)
            telemetry.VIDEO_LEASES_LOST.inc(reclaimed)


def remove_deleted(ledger: Ledger, output: str) -> None:
    """Remove the files and the rows of deleted and expired jobs; while storage is away, another time."""
    for job in ledger.deleted():
        if not remove(ledger, output, job.id):
            return


def remove(ledger: Ledger, output: str, job_id: str) -> bool:
    """Remove a deleted job for good; False while the storage is away, and then it stays marked."""
    try:
        storage.delete_prefix(job_folder(output, job_id))
    except StorageError as error:
        log.warning("files of %s stay for now: %s", job_id, error)
        return False
    ledger.purge(job_id)
    return True


def tidy(ledger: Ledger, output: str, job: Job) -> bool:
    """Remove the work files of a closed job; False while storage or ledger is away, and then it stays marked."""
    try:
        storage.delete_prefix(work_folder(output, job.id))
        ledger.tidied(job.id)
    except (StorageError, LedgerUnavailable) as error:
        log.warning("work files of %s stay for now: %s", job.id, error)
        return False
    return True
