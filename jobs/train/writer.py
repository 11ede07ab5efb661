"""The thread of each worker that writes checkpoints while training goes on."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import torch.distributed as dist

from jobs.train import state
from jobs.train.adapter import Finish
from jobs.train.state import Snapshot
from sora_core import checkpoint, storage, telemetry
from sora_core.checkpoint import Meta
from sora_core.errors import StorageUnavailable
from sora_core.training.parallel import Workers, gather

logger = logging.getLogger(__name__)

RETRY_S = (1.0, 5.0, 15.0, 30.0, 60.0, 60.0, 60.0)
"""Pauses between attempts while the storage is away; then a checkpoint is given up."""

_PATIENCE_S = 60.0
"""How long training waits for the checkpoint before: so long memory holds but one of them."""


class Writer:
    """Writes checkpoints of a run in the background, one at a time: every worker its part, the first what makes it
    whole. Storage that is away stops no step: the checkpoint is tried again, and at last given up for the next."""

    def __init__(self, output: str, keep: int | None, workers: Workers, finish: Finish) -> None:
        self._output = output
        self._keep = keep
        self._workers = workers
        self._finish = finish
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[StorageUnavailable | None] | None = None
        self._owed: list[Callable[[], None]] = []
        self._away = False

    def ready(self, *, last: bool) -> bool:
        """Whether all workers can take another checkpoint; they are given some time to, before the last one any."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._pending is not None and (last or (not self._away and time.monotonic() < deadline)):
            try:
                self._pending.result(timeout=0.1)
                break
            except NotYet:
                continue
        return all(gather(self._pending is None or self._pending.done()))

    def submit(self, snapshot: Snapshot, meta: Meta, before: Callable[[], None]) -> None:
        """Write a checkpoint; ``before`` stores what must be there earlier. All workers do this at the same step."""
        self._pending = self._thread.submit(self._write, snapshot, meta, before)

    def also(self, task: Callable[[], None]) -> None:
        """Do something small after what is being written; its failure is a warning."""

        def attempt() -> None:
            try:
                task()
            except StorageUnavailable as error:
                logger.warning("metrics not stored, again with the next checkpoint: %s", error)

        self._thread.submit(attempt)

    def close(self) -> None:
        """Wait until everything is written; StorageUnavailable when the last checkpoint was given up."""
        failed = self._pending.result() if self._pending is not None else None
        self._thread.shutdown()
        if failed is not None:
            raise failed

    def _write(self, snapshot: Snapshot, meta: Meta, before: Callable[[], None]) -> StorageUnavailable | None:
        """What made it impossible, None when all is written."""
        start = time.perf_counter()
        self._owed.append(before)
        snapshot.wait()
        uri = checkpoint.step_uri(self._output, meta.step)
        first, group = self._workers.layout.rank == 0, self._workers.background
        try:
            self._patiently(meta.step, lambda: self._first_alone(lambda: _clear(uri)))
            self._patiently(meta.step, lambda: state.store(uri, snapshot, group))
            if first:
                self._patiently(meta.step, self._settle)
                self._patiently(meta.step, lambda: self._complete(uri, snapshot, meta))
        except StorageUnavailable as error:
            logger.error("step %d: checkpoint given up, training goes on: %s", meta.step, error)
            return error
        seconds = time.perf_counter() - start
        if first:
            telemetry.TRAIN_CHECKPOINT_SECONDS.set(seconds)
            logger.info("step %d: checkpoint %s in %.1f s", meta.step, uri, seconds)
            self._retire()
        return None

    def _first_alone(self, task: Callable[[], None]) -> None:
        """The first worker's task; the others wait for it, and fail as it does."""
        failure = [_failure(task) if self._workers.layout.rank == 0 else None]
        if self._workers.background is not None:
            dist.broadcast_object_list(failure, src=0, group=self._workers.background)
        if failure[0] is not None:
            raise failure[0]

    def _patiently(self, step: int, task: Callable[[], None]) -> None:
        """Try until the storage is back. Every worker fails alike in what they do together, so they keep in step."""
        for pause in (*RETRY_S, None):
            try:
                task()
                self._away = False
                return
            except StorageUnavailable as error:
                if pause is None:
                    raise
                self._away = True
                logger.warning("step %d: checkpoint not written, again in %.0f s: %s", step, pause, error)
                time.sleep(pause)

    def _settle(self) -> None:
        """Store what must be there before a checkpoint, that of those given up included."""
        while self._owed:
            self._owed[0]()
            del self._owed[0]

    def _complete(self, uri: str, snapshot: Snapshot, meta: Meta) -> None:
        """Store what serves, and last the meta that makes the checkpoint whole."""
        state.store_position(uri, snapshot.position)
        average = snapshot.average if snapshot.average is not None else state.average_of(uri)
        self._finish(uri, average, meta)

    def _retire(self) -> None:
        if self._keep is None:
            return
        try:
            for old in checkpoint.list_checkpoints(self._output)[: -self._keep]:
                _clear(old.uri)
        except StorageUnavailable as error:
            logger.warning("old checkpoints not removed, again with the next: %s", error)


def _failure(task: Callable[[], None]) -> StorageUnavailable | None:
    try:
        task()
    except StorageUnavailable as error:
        return error
    return None


def _clear(uri: str) -> None:
    """Remove a checkpoint, first what makes it whole."""
    storage.delete(storage.join(uri, checkpoint.META))
    storage.delete_prefix(uri)
