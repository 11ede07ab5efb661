"""Whether a worker's place can still work: faults in a row that no single job explains."""

import threading
from collections.abc import Sequence

from services.video.job import Job

_RED = 3
_LONGEST_PAUSE_S = 30.0
_FIRST_PAUSE_S = 0.5


class Health:
    """Counts faults since the last success. A place with several is red: it backs off, and Serve replaces it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, str] = {}

    def well(self) -> None:
        """Something was finished here."""
        with self._lock:
            self._faults.clear()

    def fault(self, error: Exception, job_id: str | None = None) -> None:
        """Something went wrong that is no job's fault, or one that may be this job's: it counts once a job then."""
        with self._lock:
            key = job_id or f"fault {len(self._faults)}"
            self._faults[key] = f"{type(error).__name__}: {error}"

    def trusted(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs without those that went wrong here since the last success, unless there are no others: which fails
        tells more of the place when it is another each time."""
        with self._lock:
            others = [job for job in jobs if job.id not in self._faults]
        return others or jobs

    @property
    def pause_s(self) -> float:
        """How long to take no further job: longer with every fault in a row."""
        with self._lock:
            count = len(self._faults)
        return 0.0 if count == 0 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (count - 1))

    @property
    def ailing(self) -> str | None:
        """What keeps going wrong here, or None."""
        with self._lock:
            if len(self._faults) < _RED:
                return None
            return f"{len(self._faults)} faults in a row, the last: {list(self._faults.values())[-1]}"
