"""The leases that a worker has, renewed by every step and, while a step is long, by a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.video.job import Lease, Renewal
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    percent: int
    moved_at: float


class Holdings:
    """What this worker holds and how far it is; safe to use from several threads.

    A lease whose job hasn't moved for ``stall_s`` is renewed no more: a thread that only lives must not keep it.
    """

    def __init__(
        self, ledger: Ledger, lease_s: float, stall_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._stall_s = stall_s
        self._clock = clock
        self._held: dict[Lease, _Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pulse_until_stopped, name="leases", daemon=True)

    def add(self, lease: Lease, percent: int) -> None:
        """Hold a lease from now on, its job this far already."""
        with self._lock:
            self._held[lease] = _Held(percent, self._clock())

    def report(self, lease: Lease, percent: int) -> None:
        """Note a job's progress; the next renewal writes it."""
        with self._lock:
            if lease in self._held:
                self._held[lease] = _Held(percent, self._clock())

    def moved(self, leases: Iterable[Lease] | None = None) -> None:
        """These jobs, or all, are being worked on, or wait for their turn in a loop that turns."""
        with self._lock:
            for lease in self._held if leases is None else leases:
                if lease in self._held:
                    self._held[lease].moved_at = self._clock()

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop(lease, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def __contains__(self, lease: object) -> bool:
        with self._lock:
            return lease in self._held

    @property
    def stalled(self) -> str | None:
        """Which jobs have stopped to move, or None."""
        with self._lock:
            stuck = [lease.job_id for lease, held in self._held.items() if not self._moves(held)]
        return f"{', '.join(stuck)} did not move for {self._stall_s:g} s" if stuck else None

    def _moves(self, held: _Held) -> bool:
        return self._clock() - held.moved_at <= self._stall_s

    def renew(self) -> Renewal:
        """Write all leases and progress, and hear what shall be dropped.

        While the ledger is away nothing is dropped: the work goes on, and the lease decides at its end.
        """
        with self._lock:
            progress = {lease: held.percent for lease, held in self._held.items() if self._moves(held)}
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
            try:
                self.renew()
            except Exception:
                log.exception("leases not renewed; the next pulse tries again")
