"""Who writes: the first worker keeps the run's record and checkpoints, the others keep quiet."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from jobs.train.adapter import Finish
from jobs.train.config import TrainConfig
from jobs.train.record import Record, StepTiming
from jobs.train.state import Snapshot, Writer
from sora_core import telemetry
from sora_core.checkpoint import Meta
from sora_core.training.plan import Position
from sora_core.training.trainer import StepResult, Trainer


class Keeper(Protocol):
    """What a loop tells after each step."""

    @property
    def due(self) -> bool:
        """Whether it is time to speak."""

    def step(self, step: int, result: StepResult, timing: StepTiming, val_loss: Mapping[str, float]) -> None:
        """A step is done; ``val_loss`` is empty unless it was validated."""

    def checkpoint(self, trainer: Trainer, position: Position) -> None:
        """The state at a position is to be kept."""


class Bystander:
    """Every worker but the first."""

    due = False

    def step(self, step: int, result: StepResult, timing: StepTiming, val_loss: Mapping[str, float]) -> None:
        """Nothing to tell that the first worker doesn't."""

    def checkpoint(self, trainer: Trainer, position: Position) -> None:
        """Its state is the first worker's."""


class FirstWorker:
    """Writes metrics and checkpoints; ``meta`` describes the run at any step, ``finish`` stores what serves."""

    def __init__(self, config: TrainConfig, meta: Meta, finish: Finish) -> None:
        self._meta = meta
        self.record = Record(config.output, config.steps, config.log_every_s)
        self.writer = Writer(config.output, config.keep_checkpoints, finish)

    @property
    def due(self) -> bool:
        return self.record.due

    def step(self, step: int, result: StepResult, timing: StepTiming, val_loss: Mapping[str, float]) -> None:
        for sigma, loss in val_loss.items():
            telemetry.TRAIN_VAL_LOSS.set(loss, {"sigma_bin": sigma})
        if self.record.step(step, result, timing, {"val_loss": val_loss} if val_loss else {}):
            self.writer.also(self.record.flush)

    def checkpoint(self, trainer: Trainer, position: Position) -> None:
        meta = dataclasses.replace(self._meta, step=position.step)
        self.writer.submit(Snapshot.take(trainer, position), meta, before=self.record.cut())


@contextmanager
def keeping(config: TrainConfig, meta: Meta, rank: int, finish: Finish) -> Iterator[Keeper]:
    """This worker's keeper; on the way out everything is stored, after a failure too."""
    if rank:
        yield Bystander()
        return
    first = FirstWorker(config, meta, finish)
    try:
        yield first
    finally:
        first.record.flush()
        first.writer.close()
