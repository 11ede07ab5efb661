"""A crew that moves on to the newest checkpoint of its run, without a restart."""

import logging
import threading
from collections.abc import Callable

from services.video.ledger.tables import LedgerUnavailable
from services.video.workers.crew import Crew
from sora_core import checkpoint
from sora_core.errors import SoraError

log = logging.getLogger(__name__)

_LOOK_S = 30.0


class Following:
    """A crew around a run's newest checkpoint. When there is a newer one, its crew takes the further jobs, and the one
    before finishes those that it has: for that time both models are in memory."""

    def __init__(self, run: str, crew_of: Callable[[str], Crew]) -> None:
        """CheckpointError when the run has no checkpoint."""
        self._run = run
        self._crew_of = crew_of
        self._at = checkpoint.resolve(run)
        self._crew = crew_of(self._at)
        self._finishing: list[Crew] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        self._crew.start()
        self._thread.start()

    @property
    def ills(self) -> list[str]:
        """What is wrong with the crew at work."""
        return self._crew.ills

    def stop(self) -> None:
        """End the crew at work, and those that are still finishing."""
        self._stop.set()
        self._thread.join()
        for crew in (self._crew, *self._finishing):
            crew.stop()

    def look(self) -> bool:
        """Move on if there is a newer checkpoint; whether there was."""
        newest = checkpoint.resolve(self._run)
        if newest == self._at:
            return False
        log.info("%s takes the place of %s", newest, self._at)
        before, self._crew = self._crew, self._crew_of(newest)
        self._at = newest
        self._crew.start()
        before.retire()
        self._finishing = [crew for crew in (*self._finishing, before) if not crew.done]
        return True

    def _follow(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except (SoraError, LedgerUnavailable) as error:
                log.warning("%s stays for now: %s", self._at, error)
            except Exception:
                log.exception("%s stays for now", self._at)
