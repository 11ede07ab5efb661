"""Who keeps what: the first worker the run's record, every worker its part of the checkpoints."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.train.adapter import Finish
from jobs.train.config import TrainConfig
from jobs.train.record import Record, StepTiming
from jobs.train.state import Snapshot
from jobs.train.validate import Judged
from jobs.train.writer import Writer
from sora_core import telemetry
from sora_core.checkpoint import Meta
from sora_core.training.parallel import Workers
from sora_core.training.plan import Position
from sora_core.training.trainer import StepResult, Trainer

logger = logging.getLogger(__name__)


class Keeper:
    """What a loop tells after each step; ``meta`` describes the run at any step, ``finish`` stores what serves."""

    def __init__(self, config: TrainConfig, meta: Meta, workers: Workers, finish: Finish) -> None:
        self._meta = meta
        self._about: dict[str, object] = {"workers": workers.layout.workers}
        first = workers.layout.rank == 0
        self.record = Record(config.output, config.steps, config.log_every_s) if first else None
        self.writer = Writer(config.output, config.keep_checkpoints, workers, finish)

    @property
    def due(self) -> bool:
        """Whether it is time to speak."""
        return self.record is not None and self.record.due

    def step(self, step: int, result: StepResult, timing: StepTiming, judged: Judged) -> None:
        """A step is done; ``judged`` is empty unless it was validated."""
        if self.record is None:
            return
        for sigma, loss in judged.loss.items():
            telemetry.TRAIN_VAL_LOSS.set(loss, {"sigma_bin": sigma})
        found = {"val_loss": judged.loss, "word_gap": judged.word_gap}
        extra = self._about | {name: values for name, values in found.items() if values}
        if self.record.step(step, result, timing, extra):
            self.writer.also(self.record.flush)

    def checkpoint(self, trainer: Trainer, position: Position, *, last: bool) -> None:
        """The state at a position is to be kept; not while the one before can't be written, and that is said."""
        if not self.writer.ready(last=last):
            logger.warning("step %d: no checkpoint, the one before is still being written", position.step)
            return
        meta = dataclasses.replace(self._meta, step=position.step)
        before: Callable[[], None] = self.record.cut() if self.record is not None else _nothing
        self.writer.submit(Snapshot.take(trainer, position), meta, before)


def _nothing() -> None:
    """What a worker without a record stores before a checkpoint."""


@contextmanager
def keeping(config: TrainConfig, meta: Meta, workers: Workers, finish: Finish) -> Iterator[Keeper]:
    """This worker's keeper; on the way out everything is stored, after a failure too."""
    keeper = Keeper(config, meta, workers, finish)
    try:
        yield keeper
    finally:
        keeper.writer.close()
        if keeper.record is not None:
            keeper.record.flush()
