"""How many samplers the accepted work needs: enough that the predicted wait stays under a target.

A sampler is sent no requests, so Serve's own policy, which counts them, would never add one.
"""

import logging
import math
from typing import Any, Protocol

from services.video.job import Backlog
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)


class Context(Protocol):
    """What this policy reads of Serve's autoscaling context."""

    target_num_replicas: int


def replicas_for(backlog: Backlog, target_wait_s: float, current: int) -> int:
    """Samplers that work off the backlog in time at the rate that one of them has shown, and never more than jobs.

    One that is taken away saves what it samples, and another goes on at the same step; so fewer may do than work now.
    """
    if backlog.unsampled == 0:
        return 0
    if backlog.rate_of_one == 0:
        return max(1, current)
    needed = math.ceil(backlog.token_steps / (backlog.rate_of_one * target_wait_s))
    return max(1, min(needed, backlog.unsampled))


class PredictedWait:
    """The policy as Serve's controller calls it; Serve itself keeps the number within its bounds.

    It answers for the model while no sampler lives. The first sampler of a checkpoint comes without being asked for,
    to introduce the model.
    """

    def __init__(self, ledger: str, checkpoint: str, target_wait_s: float) -> None:
        self._ledger = Ledger.open(ledger)
        self._checkpoint = checkpoint
        self._target_wait_s = target_wait_s

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        current = context.target_num_replicas
        try:
            if not self._ledger.keep_offered(self._checkpoint):
                return max(1, current), {}
            return replicas_for(self._ledger.backlog(), self._target_wait_s, current), {}
        except LedgerUnavailable as error:
            log.warning("the number of samplers stays %d: %s", current, error)
            return current, {}
