"""What a sampler does for all between its steps: signs of life, jobs of dead workers, files that nobody wants."""

import logging
import time

from services.video.config import ServiceConfig
from services.video.files import job_folder
from services.video.ledger import Ledger
from services.video.tables import LedgerUnavailable
from sora_core import storage
from sora_core.errors import StorageError

log = logging.getLogger(__name__)

_SMOOTHING = 0.9
_KEY_LIFETIME_S = 24 * 3600.0


class Housekeeper:
    """`tend` is cheap to call: it acts a few times within the length of a lease."""

    def __init__(self, config: ServiceConfig, ledger: Ledger, worker: str, model: str) -> None:
        self._config = config
        self._ledger = ledger
        self._worker = worker
        self._model = model
        self._rate = 0.0
        self._due = 0.0
        self._reclaim_after = 0.0

    def stepped(self, tokens: int, elapsed_s: float) -> None:
        """Learn this replica's rate from a step: a moving average of token-steps per second."""
        rate = tokens / max(elapsed_s, 1e-9)
        self._rate = rate if self._rate == 0 else _SMOOTHING * self._rate + (1 - _SMOOTHING) * rate

    def tend(self) -> None:
        """Report the rate, put jobs of dead workers back in the queue, remove files of deleted jobs."""
        now = time.monotonic()
        if now < self._due:
            return
        settings = self._config.sampler
        self._due = now + min(5.0, settings.lease_s / 4)
        try:
            self._ledger.beat(self._worker, self._model, self._rate)
            if now >= self._reclaim_after:
                self._reclaim()
            self._ledger.forget_requests(_KEY_LIFETIME_S)
            remove_deleted(self._ledger, self._config.output)
        except LedgerUnavailable as error:
            log.warning("housekeeping put off: %s", error)
            # No worker could renew its leases: each gets the time to do so before they count as run out.
            self._reclaim_after = now + settings.lease_s

    def _reclaim(self) -> None:
        reclaimed = self._ledger.reclaim(self._config.sampler.max_attempts)
        if reclaimed:
            log.warning("%d jobs had lost their worker", reclaimed)


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
