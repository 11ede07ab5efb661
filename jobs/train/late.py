"""Steps that a device is still at while the host goes on: their numbers are read a step late, so it never idles."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sora_core.training.plan import PlannedStep
from sora_core.training.trainer import Launched, StepResult


@dataclass(frozen=True, slots=True)
class Done:
    """A step and what it came to; how long it took, and how long its worker waited for data before, in seconds."""

    planned: PlannedStep
    result: StepResult
    spent_s: float
    wait_s: float


class Late:
    """Settles steps in their order, each when ``lag`` more have been launched: 0 where launching is computing."""

    def __init__(self, lag: int) -> None:
        self._lag = lag
        self._launched: deque[tuple[Launched, float, float]] = deque()
        self._settled_at = time.perf_counter()
        self._asked_at = self._settled_at

    def add(self, launched: Launched, wait_s: float) -> None:
        """A step was launched, after so long a wait for its data."""
        self._launched.append((launched, self._asked_at, wait_s))

    def settle(self, *, everything: bool) -> Iterator[Done]:
        """The steps that are due, or all; the errors of `Launched.result`."""
        while len(self._launched) > (0 if everything else self._lag):
            launched, asked_at, wait_s = self._launched.popleft()
            result = launched.result()
            now = time.perf_counter()
            spent_s, self._settled_at = now - max(asked_at, self._settled_at), now
            yield Done(launched.planned, result, spent_s, wait_s)
        self._asked_at = time.perf_counter()
