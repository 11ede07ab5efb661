"""How many samplers the accepted work needs: enough that the predicted wait stays under a target.

A sampler is sent no requests, so Serve's own policy, which counts them, would never add one.
"""

import logging
import math
from typing import Any, Protocol

from services.video.job import Backlog
from services.video.ledger import Ledger
from services.video.tables import LedgerUnavailable

log = logging.getLogger(__name__)


class Context(Protocol):
    """What this policy reads of Serve's autoscaling context."""

    target_num_replicas: int


def replicas_for(backlog: Backlog, target_wait_s: float, current: int) -> int:
    """Samplers that work off the backlog in time, at the rate that one of them has shown.

    None is taken away while a job is open: what it samples would start again elsewhere.
    """
    if backlog.token_steps == 0:
        return 0
    if backlog.live_workers == 0 or backlog.token_steps_per_s == 0:
        return max(1, current)
    rate_of_one = backlog.token_steps_per_s / backlog.live_workers
    return max(current, math.ceil(backlog.token_steps / (rate_of_one * target_wait_s)))


class PredictedWait:
    """The policy as Serve's controller calls it; Serve itself keeps the number within its bounds."""

    def __init__(self, ledger: str, target_wait_s: float) -> None:
        self._ledger = Ledger.open(ledger)
        self._target_wait_s = target_wait_s

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        current = context.target_num_replicas
        try:
            return replicas_for(self._ledger.backlog(), self._target_wait_s, current), {}
        except LedgerUnavailable as error:
            log.warning("the number of samplers stays %d: %s", current, error)
            return current, {}
