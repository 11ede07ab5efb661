"""What is done for all between the jobs: leases that ran out, jobs that nobody wants, files that nobody needs.

Every process of the service has a housekeeper, the API's too, so that it goes on with no worker at all; they take
turns by the ledger, and one of them does the work.
"""

import logging
import math
import threading

from services.video.config import ServiceConfig
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.stored import leave_only, places_of, results_of
from services.video.sweeper import Sweeper
from sora_core import storage, telemetry
from sora_core.errors import StorageError

log = logging.getLogger(__name__)

_KEY_LIFETIME_S = 24 * 3600.0
_LONGEST_PAUSE_S = 5.0


class Housekeeper:
    """A worker like others: `run` repeats `tend` until `stop`."""

    ailing: str | None = None

    def __init__(self, config: ServiceConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._lease_s = config.sampler.lease_s
        self._pause_s = min(_LONGEST_PAUSE_S, self._lease_s / 4)
        self._sweeper = Sweeper(config, ledger)
        self._stop = threading.Event()

    def run(self) -> None:
        while not self._stop.wait(self._pause_s / 2):
            try:
                self.tend()
            except (LedgerUnavailable, StorageError) as error:
                log.warning("housekeeping put off: %s", error)
            except Exception:
                log.exception("housekeeping failed; the next round tries again")

    def stop(self) -> None:
        """Ask the loop to end; callable from any thread, more than once."""
        self._stop.set()

    retire = stop

    def tend(self) -> None:
        """Do what is due, when it is this process's turn. LedgerUnavailable, StorageError while these are away."""
        self._sweeper.sweep_here()
        steady_s = self._ledger.roster.take_turn("housekeeping", self._pause_s, self._lease_s / 2)
        if steady_s is None:
            return
        if steady_s >= self._lease_s:  # after an outage workers get the time to renew before leases count as run out
            self._reclaim(steady_s)
        self._ledger.forget_requests(_KEY_LIFETIME_S)
        remove_deleted(self._ledger, self._config.output, self._config.expire_failed_after_s)
        all(tidy(self._ledger, self._config.output, job.id) for job in self._ledger.littered())
        if self._ledger.roster.take_turn("sweep", self._config.sweep_every_s, self._config.sweep_every_s) is not None:
            self._sweeper.sweep()

    def _reclaim(self, steady_s: float) -> None:
        unserved_s = self._config.unserved_after_s
        reclaimed = self._ledger.reclaim(
            self._config.sampler.max_attempts, unserved_s if steady_s >= unserved_s else None
        )
        if reclaimed:
            log.warning("%d jobs had lost their worker or missed their deadline", reclaimed)
            telemetry.VIDEO_LEASES_LOST.inc(reclaimed)


def remove_deleted(ledger: Ledger, output: str, failed_for_s: float = math.inf) -> None:
    """Remove the files and the rows of deleted and expired jobs; while storage is away, another time."""
    for job in ledger.deleted(failed_for_s=failed_for_s):
        if not remove(ledger, output, job.id):
            return


def remove(ledger: Ledger, output: str, job_id: str) -> bool:
    """Remove a deleted job for good; False while storage or ledger is away, and then it stays marked."""
    try:
        for job in ledger.rows([job_id]):
            for place in places_of(job, output):
                storage.delete_prefix(place)
        ledger.purge(job_id)
    except (StorageError, LedgerUnavailable) as error:
        log.warning("files of %s stay for now: %s", job_id, error)
        return False
    return True


def tidy(ledger: Ledger, output: str, job_id: str) -> bool:
    """Remove of a closed job all files but its result; False while storage or ledger is away, and then it stays
    marked."""
    try:
        for job in ledger.rows([job_id]):
            if job.is_open:
                continue
            for place in places_of(job, output):
                leave_only(place, results_of(job))
            ledger.tidied(job.id)
    except (StorageError, LedgerUnavailable) as error:
        log.warning("work files of %s stay for now: %s", job_id, error)
        return False
    return True
