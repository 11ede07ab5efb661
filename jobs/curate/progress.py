"""A line about how far it is, for people."""

import sys
import time
from collections import Counter

# Often enough to watch, seldom enough for a job's log.
_EVERY_S = 2.0


class Progress:
    """Counts finished objects and clips and prints a line now and then."""

    def __init__(self, num_sources: int) -> None:
        self._num_sources = num_sources
        self._done = 0
        self._clips: Counter[str] = Counter()
        self._started = self._last = time.monotonic()

    def add(self, num_sources: int, clips: Counter[str]) -> None:
        """``num_sources`` more are committed, with these clips by status."""
        self._done += num_sources
        self._clips += clips
        now = time.monotonic()
        if now - self._last >= _EVERY_S or self._done == self._num_sources:
            self._last = now
            print(self.line(now - self._started), flush=True)  # noqa: T201 - the command's own output

    def line(self, elapsed_s: float) -> str:
        """Done, kept, dropped, failed, rate and time left."""
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        left = f"{(self._num_sources - self._done) / rate:.0f} s left" if rate else "starting"
        by_status = ", ".join(f"{self._clips[status]} {status}" for status in ("kept", "dropped", "failed"))
        return f"curate: {self._done}/{self._num_sources} objects, clips {by_status}, {rate:.1f} objects/s, {left}"


def say(text: str) -> None:
    """The command's own output."""
    print(text, file=sys.stdout, flush=True)  # noqa: T201
