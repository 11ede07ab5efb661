"""A line about how far each stage is, for people."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

# Often enough to watch, seldom enough for a job's log.
_EVERY_S = 2.0


class Board:
    """Counts what the stages have done, wherever they run."""

    def __init__(self) -> None:
        self._objects: Counter[str] = Counter()
        self._clips: Counter[str] = Counter()

    def add(self, stage: str, num_objects: int, clips: Counter[str]) -> None:
        """``num_objects`` more have left a stage, with these clips by status."""
        self._objects[stage] += num_objects
        self._clips += clips

    def read(self) -> tuple[Counter[str], Counter[str]]:
        """Objects by stage, committed clips by status."""
        return self._objects, self._clips


@contextmanager
def watching(stages: Sequence[str], num_objects: int) -> Iterator[Any]:
    """A board in the cluster whose numbers are printed now and then, and once more at the end; gives its handle."""
    # On the driver's own node: any other may go away in the middle of the job.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
    started = time.monotonic()
    over = threading.Event()

    def show() -> None:
        objects, clips = ray.get(board.read.remote())
        say(line({stage: objects[stage] for stage in stages}, clips, num_objects, time.monotonic() - started))

    def keep_showing() -> None:
        while not over.wait(_EVERY_S):
            show()

    thread = threading.Thread(target=keep_showing, name="progress", daemon=True)
    thread.start()
    try:
        yield board
    finally:
        over.set()
        thread.join()
    show()


def line(objects: Mapping[str, int], clips: Counter[str], num_objects: int, elapsed_s: float) -> str:
    """Each stage's objects done, rate and time left; then clips kept, dropped and failed."""
    stages = " | ".join(_stage(stage, done, num_objects, elapsed_s) for stage, done in objects.items())
    by_status = ", ".join(f"{clips[status]} {status}" for status in ("kept", "dropped", "failed"))
    return f"curate: {stages} | clips: {by_status}"


def _stage(stage: str, done: int, num_objects: int, elapsed_s: float) -> str:
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    left = f"{(num_objects - done) / rate:.0f} s left" if rate else "starting"
    return f"{stage} {done}/{num_objects} objects, {rate:.1f} objects/s, {left}"


def say(text: str) -> None:
    """The command's own output."""
    print(text, file=sys.stdout, flush=True)  # noqa: T201
