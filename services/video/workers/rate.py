"""How fast a worker is, measured at its own work: what predicted waits and the number of samplers rest on."""

import logging
import time

from services.video.job import Stage
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)

_SMOOTHING = 0.9
_LONGEST_SILENCE_S = 5.0


class Rate:
    """Work a second as a moving average: token-steps of a sampler, decoded tokens of a decoder. `tell` is cheap to
    call, and is the worker's sign of life too."""

    def __init__(self, ledger: Ledger, worker: str, model: str, lease_s: float, stage: Stage = Stage.SAMPLE) -> None:
        self._ledger = ledger
        self._worker = worker
        self._model = model
        self._stage = stage
        self._every_s = min(_LONGEST_SILENCE_S, lease_s / 4)
        self._rate = 0.0
        self._due = 0.0

    def did(self, work: float, elapsed_s: float) -> None:
        """Learn from a step, or a job."""
        rate = work / max(elapsed_s, 1e-9)
        self._rate = rate if self._rate == 0 else _SMOOTHING * self._rate + (1 - _SMOOTHING) * rate

    def tell(self) -> None:
        """Write the rate into the ledger when it is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._every_s
        samples = self._stage is Stage.SAMPLE
        rates = (self._rate, 0.0) if samples else (0.0, self._rate)
        try:
            self._ledger.roster.beat(self._worker, self._model, rates[0], stage=self._stage, decoded_per_s=rates[1])
        except LedgerUnavailable as error:
            log.warning("no sign of life: %s", error)

    def retire(self) -> None:
        """Say goodbye, so that nobody counts on this worker."""
        try:
            self._ledger.roster.retire(self._worker)
        except LedgerUnavailable as error:
            log.warning("counted on for a while: %s", error)
