"""How many samplers the accepted work needs: enough that the predicted wait stays under a target.

A sampler is sent no requests, so Serve's own policy, which counts them, would never add one.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from services.video.job import Backlog
from services.video.ledger import Ledger

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_UNASKED_S = 60.0  # then the policy has been replaced, and its thread ends


class Context(Protocol):
    """What this policy reads of Serve's autoscaling context."""

    target_num_replicas: int


def replicas_for(backlog: Backlog, target_wait_s: float, current: int, *, decodes: bool = False) -> int:
    """Samplers that work off the backlog in time at the rate that one of them has shown, and never more than jobs.

    One that is taken away saves what it samples, and another goes on at the same step; so fewer may do than work now.
    ``decodes``: decoding is the samplers' work too.
    """
    jobs = backlog.unsampled + (backlog.undecoded if decodes else 0)
    if jobs == 0:
        return 0
    wait_s = backlog.wait_of_one_s(decodes=decodes)
    if wait_s is None:
        return max(1, current)
    return max(1, min(math.ceil(wait_s / target_wait_s), jobs))


class PredictedWait:
    """The policy as Serve's controller calls it; Serve itself keeps the number within its bounds.

    It answers for the models while no sampler lives. The first sampler comes without being asked for, to introduce
    them. A thread of its own asks the ledger, so that the controller never waits for a database.
    """

    def __init__(self, ledger: str, checkpoints: Sequence[str], target_wait_s: float, *, decodes: bool = False) -> None:
        self._url = ledger
        self._checkpoints = checkpoints
        self._target_wait_s = target_wait_s
        self._decodes = decodes
        self._seen: list[Backlog] | None = None  # of each model, once somebody has introduced them
        self._introduced = True
        self._asked = 0.0
        self._thread: threading.Thread | None = None

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        self._asked = time.monotonic()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name="predicted-wait", daemon=True)
            self._thread.start()
        current, seen = context.target_num_replicas, self._seen
        if not self._introduced:
            return max(1, current), {}
        if seen is None:
            return current, {}
        needed = [replicas_for(one, self._target_wait_s, current, decodes=self._decodes) for one in seen]
        return sum(needed), {}

    def _watch(self) -> None:
        ledger: Ledger | None = None
        while time.monotonic() - self._asked < _UNASKED_S:
            try:
                ledger = ledger or Ledger.open(self._url)
                self._look(ledger)
            except Exception:
                log.exception("the number of samplers stays as it is")
                self._seen, self._introduced = None, True
            time.sleep(_LOOK_S)
        if ledger is not None:
            ledger.close()

    def _look(self, ledger: Ledger) -> None:
        offered = [ledger.roster.keep_offered(checkpoint) for checkpoint in self._checkpoints]
        self._introduced = all(offered)
        backlogs = [ledger.roster.backlog(model=names[0]) for names in offered if names]
        self._seen = backlogs if self._introduced else None
