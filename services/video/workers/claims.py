"""How a worker takes jobs, also when the ledger's answer gets lost on the way."""

from collections.abc import Sequence

from services.video.job import Job, Stage
from services.video.ledger import Ledger
from services.video.workers.leases import Holdings


class Claims:
    """Takes jobs of one stage for one worker, and holds their leases."""

    def __init__(self, ledger: Ledger, holdings: Holdings, worker: str, lease_s: float, stage: Stage) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._worker = worker
        self._lease_s = lease_s
        self._stage = stage
        self._unsure = False

    def doubt(self) -> None:
        """The ledger may take this worker for the holder of jobs that it doesn't know of."""
        self._unsure = True

    def take(self, ids: Sequence[str], most: int | None = None) -> list[Job]:
        """Those of the jobs that still wait, and before these any that an earlier claim got without being told.

        LedgerUnavailable when the ledger doesn't answer.
        """
        taken: list[Job] = []
        if self._unsure:
            taken = [job for job in self._ledger.claimed_by(self._worker) if job.lease not in self._holdings]
            self._unsure = False
        left = None if most is None else most - len(taken)
        if ids and (left is None or left > 0):
            self._unsure = True
            taken += self._ledger.claim(ids, self._worker, self._lease_s, stage=self._stage, most=left)
            self._unsure = False
        for job in taken:
            self._holdings.add(job.lease, job.progress)
        return taken
