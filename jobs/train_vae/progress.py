"""A line every half minute: how far, how fast, how long still."""

import logging
import time

logger = logging.getLogger(__name__)

_EVERY_S = 30.0


class Progress:
    """Counts steps of ``total``, of which ``done`` were taken before."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what = what
        self.total = total
        self.step = self._first = done
        self._started = self._said = time.monotonic()

    def tick(self, loss: float) -> None:
        """One more step is done."""
        self.step += 1
        now = time.monotonic()
        if now - self._said < _EVERY_S:
            return
        self._said = now
        rate = (self.step - self._first) / (now - self._started)
        left_min = (self.total - self.step) / rate / 60
        logger.info(
            "%s: step %d/%d  loss %.4f  %.2f steps/s  %.0f min left",
            self.what, self.step, self.total, loss, rate, left_min,
        )  # fmt: skip
