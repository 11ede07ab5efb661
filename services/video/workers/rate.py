"""How fast a sampler is, measured at its own steps: what predicted waits and the number of samplers rest on."""

import logging
import time

from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)

_SMOOTHING = 0.9
_LONGEST_SILENCE_S = 5.0


class Rate:
    """Token-steps a second as a moving average; `tell` is cheap to call and is the sampler's sign of life too."""

    def __init__(self, ledger: Ledger, worker: str, model: str, lease_s: float) -> None:
        self._ledger = ledger
        self._worker = worker
        self._model = model
        self._every_s = min(_LONGEST_SILENCE_S, lease_s / 4)
        self._rate = 0.0
        self._due = 0.0

    def stepped(self, tokens: int, elapsed_s: float) -> None:
        """Learn from a step."""
        rate = tokens / max(elapsed_s, 1e-9)
        self._rate = rate if self._rate == 0 else _SMOOTHING * self._rate + (1 - _SMOOTHING) * rate

    def tell(self) -> None:
        """Write the rate into the ledger when it is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._every_s
        try:
            self._ledger.beat(self._worker, self._model, self._rate)
        except LedgerUnavailable as error:
            log.warning("no sign of life: %s", error)
