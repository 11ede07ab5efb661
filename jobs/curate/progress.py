"""A line about how far each stage is, for people."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.progress import Line, spoken

_LOOK_EVERY_S = 1.0
# No time is told before a stage has worked this long and on this many objects: the first ones say little of the rest.
_SETTLED_S = 10.0
_SETTLED_OBJECTS = 20


@dataclass(frozen=True, slots=True)
class Amount:
    """Some objects, their bytes, and the seconds that an actor spent on them."""

    objects: int
    size_bytes: int
    busy_s: float = 0.0

    @classmethod
    def of(cls, sizes: Iterable[int], busy_s: float = 0.0) -> "Amount":
        """Of objects with these sizes."""
        sizes = list(sizes)
        return cls(len(sizes), sum(sizes), busy_s)


@dataclass(slots=True)
class Costs:
    """What a stage has done, and by least squares what an object and each of its bytes cost it: a film is no still."""

    done: Amount = Amount(0, 0)
    began: float = 0.0
    last: float = 0.0
    # Sums of products of objects (n), bytes (b) and seconds (s): all that least squares needs.
    nn: float = 0.0
    nb: float = 0.0
    bb: float = 0.0
    ns: float = 0.0
    bs: float = 0.0

    def add(self, amount: Amount, now: float) -> None:
        """An actor has done this much, just now."""
        if not self.done.objects:
            self.began = now - amount.busy_s
        n, b, s = amount.objects, amount.size_bytes, amount.busy_s
        self.nn, self.nb, self.bb = self.nn + n * n, self.nb + n * b, self.bb + b * b
        self.ns, self.bs = self.ns + n * s, self.bs + b * s
        self.done = Amount(self.done.objects + n, self.done.size_bytes + b, self.done.busy_s + s)
        self.last = now

    def left_s(self, total: Amount, now: float) -> float | None:
        """Seconds until all is done, by as many actors as were busy so far; None when too little was seen."""
        elapsed = self.last - self.began
        few = self.done.objects < min(_SETTLED_OBJECTS, total.objects)
        if few or elapsed < _SETTLED_S or not self.done.busy_s:
            return None
        object_s, byte_s = self._unit_costs()
        # Scaled so that what is done costs what it did.
        scale = elapsed / (object_s * self.done.objects + byte_s * self.done.size_bytes)
        objects, size_bytes = total.objects - self.done.objects, total.size_bytes - self.done.size_bytes
        return max(0.0, scale * (object_s * objects + byte_s * size_bytes) - (now - self.last))

    def _unit_costs(self) -> tuple[float, float]:
        """Busy seconds an object and a byte, neither below zero."""
        determinant = self.nn * self.bb - self.nb**2
        if determinant > 0:
            object_s = (self.ns * self.bb - self.bs * self.nb) / determinant
            byte_s = (self.bs * self.nn - self.ns * self.nb) / determinant
            if object_s >= 0 and byte_s >= 0:
                return object_s, byte_s
            if object_s < 0:
                return 0.0, self.bs / self.bb
        return self.ns / self.nn, 0.0


class Board:
    """Adds up what the stages have done, wherever they run."""

    def __init__(self) -> None:
        self._costs: dict[str, Costs] = {}
        self._clips: Counter[str] = Counter()

    def add(self, stage: str, amount: Amount, clips: Counter[str]) -> None:
        """So much more has left a stage, with these clips by status."""
        self._costs.setdefault(stage, Costs()).add(amount, time.monotonic())
        self._clips += clips

    def read(self, stages: Sequence[str], total: Amount) -> tuple[dict[str, int], Counter[str], float | None]:
        """Objects by stage, committed clips by status, and the seconds that the slowest stage still takes."""
        costs = {stage: self._costs.get(stage, Costs()) for stage in stages}
        left = [cost.left_s(total, time.monotonic()) for cost in costs.values()]
        known = [seconds for seconds in left if seconds is not None]
        done = {stage: cost.done.objects for stage, cost in costs.items()}
        return done, self._clips, max(known) if len(known) == len(left) else None


@contextmanager
def watching(stages: Sequence[str], total: Amount) -> Iterator[Any]:
    """A board in the cluster whose numbers are shown as they change, and once more at the end; gives its handle."""
    # On the driver's own node: any other may go away in the middle of the job.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
    shown, over = Line(), threading.Event()

    def now() -> str:
        done, clips, left_s = ray.get(board.read.remote(list(stages), total))
        return line(done, clips, total.objects, left_s)

    def keep_showing() -> None:
        while not over.wait(_LOOK_EVERY_S):
            shown.show(now())

    thread = threading.Thread(target=keep_showing, name="progress", daemon=True)
    thread.start()
    try:
        yield board
    finally:
        over.set()
        thread.join()
    shown.end(now())


def line(objects: Mapping[str, int], clips: Counter[str], num_objects: int, left_s: float | None) -> str:
    """Each stage's objects done; then clips kept, dropped and failed, and the time left while there is something."""
    stages = " | ".join(f"{stage} {done}/{num_objects} objects" for stage, done in objects.items())
    by_status = ", ".join(f"{clips[status]} {status}" for status in ("kept", "dropped", "failed"))
    left = "" if all(done == num_objects for done in objects.values()) else f" | {spoken(left_s)}"
    return f"curate: {stages} | clips: {by_status}{left}"
