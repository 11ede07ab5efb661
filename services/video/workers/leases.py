"""The leases that a worker has, renewed by every step and, while a step is long, by a thread of its own."""

import logging
import threading

from services.video.job import Lease, Renewal
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)


class Holdings:
    """What this worker holds and how far it is; safe to use from several threads."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._progress: dict[Lease, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pulse_until_stopped, name="leases", daemon=True)

    def add(self, lease: Lease, percent: int) -> None:
        """Hold a lease from now on, its job this far already."""
        with self._lock:
            self._progress[lease] = percent

    def report(self, lease: Lease, percent: int) -> None:
        """Note a job's progress; the next renewal writes it."""
        with self._lock:
            if lease in self._progress:
                self._progress[lease] = percent

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._progress.pop(lease, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._progress)

    def renew(self) -> Renewal:
        """Write all leases and progress, and hear what shall be dropped.

        While the ledger is away nothing is dropped: the work goes on, and the lease decides at its end.
        """
        with self._lock:
            progress = dict(self._progress)
        try:
            return self._ledger.renew(progress, self._lease_s)
        except LedgerUnavailable as error:
            log.warning("leases of %d jobs not renewed: %s", len(progress), error)
            return Renewal(frozenset(), frozenset())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _pulse_until_stopped(self) -> None:
        while not self._stop.wait(self._lease_s / 3):
            self.renew()
