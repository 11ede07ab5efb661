"""A ledger whose answers get lost: it does what it is asked and then says that it didn't answer."""

from collections.abc import Callable
from typing import Any

from services.video.ledger import Ledger
from services.video.ledger.roster import Roster
from services.video.ledger.tables import LedgerUnavailable

METHODS = (
    "waiting", "claim", "claimed_by", "renew", "save", "hand_over", "advance", "finish", "fail", "release", "beat",
    "crowd", "tidied", "learn_wait", "retire", "rows",
)  # fmt: skip
"""What a worker asks of the ledger."""


class Faulty:
    """``fault_of`` says of a call by its method's name whether its answer gets ``lost``, or it is ``away``, or None."""

    def __init__(self, ledger: Ledger | Roster, fault_of: Callable[[str], str | None]) -> None:
        self._ledger = ledger
        self._fault_of = fault_of

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if name == "roster":
            return Faulty(found, self._fault_of)
        if name not in METHODS:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            fault = self._fault_of(name)
            if fault == "away":
                raise LedgerUnavailable(f"{name}: away")
            value = found(*args, **kwargs)
            if fault == "lost":
                raise LedgerUnavailable(f"{name}: the answer got lost")
            return value

        return call
