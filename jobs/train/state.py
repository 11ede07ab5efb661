"""What a run needs to go on as if it had never stopped, and the thread that writes it down.

Nothing is drawn from a global random generator, so weights, average, optimisers and the position in the plan are all.
"""

import dataclasses
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

from jobs.train.adapter import Finish
from sora_core import checkpoint, storage, telemetry
from sora_core.checkpoint import Meta
from sora_core.errors import CheckpointError, StorageUnavailable
from sora_core.training.plan import Position
from sora_core.training.trainer import Trainer

logger = logging.getLogger(__name__)

_POSITION = "position.json"
_WAIT_S = 60.0
_RETRY_S = (1.0, 5.0, 15.0, 30.0, 60.0, 60.0, 60.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trainer's tensors, copied to the CPU, and where it stood."""

    tensors: dict[str, Tensor]
    position: Position

    @classmethod
    def take(cls, trainer: Trainer, position: Position) -> "Snapshot":
        return cls({name: _copy(value) for name, value in _tensors(trainer).items()}, position)

    @property
    def average(self) -> dict[str, Tensor]:
        """The averages of what learned."""
        prefix = "ema."
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every tensor of a trainer's state by a name that no number of workers changes."""
    model = {f"model.{name}": value for name, value in trainer.dit.named_parameters() if value.requires_grad}
    average = {f"ema.{name}": value for name, value in trainer.ema.average.items()}
    return model | average | {f"optimizer.{name}": value for name, value in trainer.optimizers.state().items()}


def _copy(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


def restore(uri: str, trainer: Trainer) -> Position:
    """Put a checkpoint's state into a trainer; where it stood. CheckpointError when the state can't be used."""
    with tempfile.TemporaryDirectory(prefix="sora-") as folder:
        storage.download_folder(storage.join(uri, checkpoint.STATE), folder)
        try:
            tensors = _read(folder)
            position = Position(**json.loads((Path(folder) / _POSITION).read_text()))
        except (OSError, ValueError, TypeError, CheckpointException) as error:
            raise CheckpointError(
                f"{uri}: its training state can't be read ({error}); delete it to use an older one"
            ) from error
    _put(uri, tensors, trainer)
    return position


def _read(folder: str) -> dict[str, Tensor]:
    known = FileSystemReader(folder).read_metadata().state_dict_metadata
    tensors: dict[str, Tensor] = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in known.items()
        if isinstance(item, TensorStorageMetadata)
    }
    with _alone():
        load(tensors, storage_reader=FileSystemReader(folder), no_dist=True)
    return tensors


@contextmanager
def _alone() -> Iterator[None]:
    """One process reads or writes, on purpose: torch needn't warn of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


@torch.no_grad()
def _put(uri: str, tensors: dict[str, Tensor], trainer: Trainer) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = value
    live = {name: value for name, value in trainer.dit.named_parameters() if value.requires_grad}
    if parts["model"].keys() != live.keys() or parts["ema"].keys() != live.keys():
        raise CheckpointError(f"{uri}: its training state is of another model; use that model's config")
    for name, parameter in live.items():
        parameter.copy_(parts["model"][name])
    trainer.ema.load(parts["ema"])
    trainer.optimizers.load(parts["optimizer"])


# --- writing


class Writer:
    """Writes checkpoints of a run in the background, one at a time; training goes on meanwhile."""

    def __init__(self, output: str, keep: int | None, finish: Finish) -> None:
        self._output = output
        self._keep = keep
        self._finish = finish
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def submit(self, snapshot: Snapshot, meta: Meta, before: Callable[[], None]) -> None:
        """Write a checkpoint after calling ``before`` (what must be stored earlier); skipped, and said so, while the
        one before it still can't be written."""
        if self._pending is not None:
            try:
                self._pending.result(timeout=_WAIT_S)
            except NotYet:
                logger.warning("step %d: no checkpoint, the one before is still being written", meta.step)
                return
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
        """Wait until everything is written; StorageError when it can't be."""
        if self._pending is not None:
            self._pending.result()
        self._thread.shutdown()

    def _write(self, snapshot: Snapshot, meta: Meta, before: Callable[[], None]) -> None:
        start = time.perf_counter()
        uri = checkpoint.step_uri(self._output, meta.step)
        for pause in (*_RETRY_S, None):
            try:
                before()
                save(uri, snapshot, meta, self._finish)
                break
            except StorageUnavailable as error:
                if pause is None:
                    raise
                logger.warning("step %d: checkpoint not written, again in %.0f s: %s", meta.step, pause, error)
                time.sleep(pause)
        seconds = time.perf_counter() - start
        telemetry.TRAIN_CHECKPOINT_SECONDS.set(seconds)
        logger.info("step %d: checkpoint %s in %.1f s", meta.step, uri, seconds)
        self._retire()

    def _retire(self) -> None:
        if self._keep is not None:
            for old in checkpoint.list_checkpoints(self._output)[: -self._keep]:
                storage.delete(storage.join(old.uri, checkpoint.META))
                storage.delete_prefix(old.uri)


def save(uri: str, snapshot: Snapshot, meta: Meta, finish: Finish) -> None:
    """Store a whole checkpoint: state, serving weights, and last the meta that makes it whole."""
    with tempfile.TemporaryDirectory(prefix="sora-") as folder:
        with _alone():
            save_tensors(dict(snapshot.tensors), storage_writer=FileSystemWriter(folder), no_dist=True)
        (Path(folder) / _POSITION).write_text(json.dumps(dataclasses.asdict(snapshot.position)))
        storage.upload_folder(folder, storage.join(uri, checkpoint.STATE))
    finish(uri, snapshot.average, meta)
