"""Waiting for ends of jobs: however many requests wait, the ledger is asked once for all of them."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from fastapi.concurrency import run_in_threadpool

from services.video.job import OPEN, Job
from services.video.ledger.tables import LedgerUnavailable

log = logging.getLogger(__name__)

_LOOK_S = (0.05, 0.5)  # between two looks, first and at most
_AT_ONCE = 200

Look = Callable[[Sequence[str]], list[Job]]
"""Those of some jobs that are in the ledger."""


class Watch:
    """Tells the ends of jobs to those who wait for them. For one event loop."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._waiting: dict[str, asyncio.Future[Job | None]] = {}
        self._pause_s = _LOOK_S[0]
        self._task: asyncio.Task[None] | None = None

    def end_of(self, job: Job) -> asyncio.Future[Job | None]:
        """The job as it has ended; None when it was deleted. Others may wait for the same, so don't cancel it."""
        if job.id not in self._waiting:
            self._waiting[job.id] = asyncio.get_running_loop().create_future()
        self._pause_s = _LOOK_S[0]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return self._waiting[job.id]

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LOOK_S[1])
            ids = list(self._waiting)
            try:
                for start in range(0, len(ids), _AT_ONCE):
                    some = ids[start : start + _AT_ONCE]
                    self._tell(some, await run_in_threadpool(self._look, some))
            except LedgerUnavailable as error:
                log.warning("who waits for images waits on: %s", error)
            except Exception:
                log.exception("a look at what images wait for failed; the next one tries again")

    def _tell(self, ids: Sequence[str], seen: Sequence[Job]) -> None:
        found = {job.id: job for job in seen}
        for job_id in ids:
            job = found.get(job_id)
            if job is None or job.status not in OPEN:
                self._waiting.pop(job_id).set_result(job)
