"""Riding out an outage: what needs the ledger or the storage is tried again while they are away."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from services.video.ledger.tables import LedgerUnavailable
from sora_core.errors import ProvenanceUnavailable, StorageUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class Patience:
    """Tries again for ``limit_s`` seconds an action, or until the process is asked to stop.

    ``waiting`` is called before every other try: what waits for an outage to end doesn't stall.
    """

    def __init__(self, limit_s: float, stop: threading.Event, waiting: Callable[[], None] = lambda: None) -> None:
        self._limit_s = limit_s
        self._stop = stop
        self._waiting = waiting

    def call(self, action: Callable[[], T]) -> T:
        """The action's value; LedgerUnavailable, StorageUnavailable or ProvenanceUnavailable when patience is over."""
        pause_s, waited_s = _FIRST_PAUSE_S, 0.0
        while True:
            try:
                return action()
            except (LedgerUnavailable, StorageUnavailable, ProvenanceUnavailable) as error:
                if waited_s >= self._limit_s or self._stop.wait(pause_s):
                    raise
                log.warning("trying again: %s", error)
                self._waiting()
                waited_s += pause_s
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
