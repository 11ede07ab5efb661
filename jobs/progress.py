"""How far a job is, in a line: drawn anew in place on a terminal; in a log written when it says something new."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

ItemT = TypeVar("ItemT")

# A log keeps every line, so it gets few.
LOG_EVERY_S = 10.0
_DRAW_EVERY_S = 0.2
# A rate is that of the last minutes, and none is told before this much was seen: what starts up is no rate.
_WINDOW_S = 120.0
_SETTLED_S = 10.0
_SETTLED_CHANGES = 4


def say(text: str) -> None:
    """A line of a command's own output."""
    print(text, file=sys.stdout, flush=True)  # noqa: T201


class Line:
    """A line of a job's output. ``stream`` is stdout unless told; the clock is in seconds."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._every_s = _DRAW_EVERY_S if self._terminal else LOG_EVERY_S
        self._text = ""
        self._shown_at = -math.inf if self._terminal else clock()

    def show(self, text: str) -> None:
        """The line says this from now on, once it is time."""
        if text != self._text and self._clock() - self._shown_at >= self._every_s:
            self._write(text)

    def end(self, text: str) -> None:
        """The line's last words, which stay."""
        if self._terminal or text != self._text:
            self._write(text)
        if self._terminal:
            print(file=self._stream, flush=True)

    def _write(self, text: str) -> None:
        self._text, self._shown_at = text, self._clock()
        start, end = ("\r\033[K", "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=self._stream, flush=True)


class Pace:
    """How long ``total`` units of work still take, by the pace of the last minutes."""

    def __init__(self, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()
        self._changes = 0

    def at(self, done: float) -> None:
        """So many units are done; the first call begins the count."""
        now = self._clock()
        if self._seen and done == self._seen[-1][1]:
            return
        self._changes += 1
        if self._changes == 2:  # what passed before the first unit was done is the start, not the pace
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > _SETTLED_CHANGES and now - self._seen[1][0] > _WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Units a second; None as long as nothing can be told."""
        if self._changes <= _SETTLED_CHANGES:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended - began >= _SETTLED_S else None

    @property
    def left_s(self) -> float | None:
        """Seconds to the end; None as long as nothing can be told."""
        if not (rate := self.per_second):
            return None
        at, done = self._seen[-1]
        return max(0.0, (self._total - done) / rate - (self._clock() - at))


def spoken(left_s: float | None) -> str:
    """A time left as one says it: no more digits than are known."""
    if left_s is None:
        return "time left not known yet"
    if left_s < 90:
        return f"{math.ceil(left_s / 5) * 5} s left"
    if left_s < 90 * 60:
        return f"{round(left_s / 60)} min left"
    return f"{left_s / 3600:.1f} h left"


def counted(items: Iterable[ItemT], total: int, what: str, unit: str) -> Iterator[ItemT]:
    """The items, with a line about how many of ``total`` there have been, where there are any."""
    line, pace = Line(), Pace(total)
    pace.at(0)
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        pace.at(done)
        line.show(f"{what}: {done} of {total} {unit}, {spoken(pace.left_s)}")
    if total:
        line.end(f"{what}: {done} of {total} {unit}")
