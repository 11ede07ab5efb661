"""How much of the work is one sampler's, where there are several: claims are as large as a share."""

import math
import time
from collections.abc import Collection

from services.video.job import Crowd
from services.video.ledger import Ledger
from services.video.scheduler import Scheduler

_LATELY_S = 20.0  # a sampler that is silent for longer has no share
_UNCLAIMED_S = 1.0  # what waits for longer is nobody else's
_LOOK_S = 1.0


class Shares:
    """What one sampler may take, and what it should give to others that have nothing."""

    def __init__(self, ledger: Ledger, model: str) -> None:
        self._ledger = ledger
        self._model = model
        self._seen: dict[str, float] = {}
        self._look_after = 0.0

    def of(self, waiting: Collection[str]) -> tuple[float, Collection[str]]:
        """A sampler's share in tokens, and those of the waiting jobs that no other sampler has taken in its time."""
        now = time.monotonic()
        self._seen = {job_id: self._seen.get(job_id, now) for job_id in waiting}
        if not waiting:
            return math.inf, ()
        unclaimed = {job_id for job_id, since in self._seen.items() if now - since > _UNCLAIMED_S}
        return self._crowd().share, unclaimed

    def surplus(self, scheduler: Scheduler) -> str | None:
        """A job to leave to a sampler that has nothing, now and then."""
        if time.monotonic() < self._look_after or len(scheduler.jobs) < 2:
            return None
        self._look_after = time.monotonic() + _LOOK_S
        crowd = self._crowd()
        return scheduler.surplus(crowd.share) if crowd.idle else None

    def _crowd(self) -> Crowd:
        return self._ledger.roster.crowd(self._model, _LATELY_S)
