"""What a demo says of where its time went."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jobs.progress import say


@contextmanager
def timed(seconds: dict[str, float], phase: str, title: str) -> Iterator[None]:
    """A phase between its title and what it took, which is noted in ``seconds``."""
    say(f"\n== {title}")
    start = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - start, 1)
    say(f"== {phase}: {seconds[phase]} s")


def time_table(seconds: Mapping[str, float], older: Mapping[str, float]) -> str:
    """Where the time went, by phase, beside what each took on an older machine where that is known."""
    rows = [("", "here", "older machine" if older else "")]
    for phase, took in [*seconds.items(), ("together", sum(seconds.values()))]:
        other = sum(older.values()) if phase == "together" else older.get(phase)
        rows.append((phase, f"{took:.0f} s", f"{other:.0f} s" if other else ""))
    return "\n".join(f"{phase:10} {here:>7} {other:>14}".rstrip() for phase, here, other in rows)
