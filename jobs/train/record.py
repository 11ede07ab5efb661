"""What a run writes about itself: a line a step in ``metrics/*.jsonl`` and for TensorBoard, a live line, gauges."""

import collections
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import mean

from jobs.progress import Pace, spoken
from jobs.train import tensorboard
from sora_core import storage, telemetry
from sora_core.errors import MissingObject
from sora_core.training.trainer import ClipLoss, StepResult

logger = logging.getLogger(__name__)

METRICS = "metrics"
_SIGMA_BINS = 10


@dataclass(frozen=True, slots=True)
class StepTiming:
    """How long a step took and how much of that its worker waited for data, in seconds; the tokens of all workers, and
    the part of their devices' peak that the step's matrix products used."""

    step_s: float
    wait_s: float
    num_tokens: int
    used: float


class Record:
    """The first worker's account of a run; one file of lines from checkpoint to checkpoint."""

    def __init__(self, output: str, num_steps: int, log_every_s: float) -> None:
        self._output = output
        self._num_steps = num_steps
        self._log_every_s = log_every_s
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._events: list[bytes] = []
        self._file: str | None = None
        self._spoke_at = time.monotonic()
        self._pace = Pace(num_steps)
        self._since: list[StepTiming] = []
        self._clips: list[ClipLoss] = []

    @property
    def due(self) -> bool:
        """Whether it is time for a live line."""
        return time.monotonic() - self._spoke_at >= self._log_every_s

    def step(self, step: int, result: StepResult, timing: StepTiming, extra: Mapping[str, object]) -> bool:
        """Note a finished step; ``extra`` joins its line. Whether the live line was shown."""
        line: dict[str, object] = {
            "step": step,
            "loss": result.loss,
            "gradient_norm": result.gradient_norm,
            "rate": result.part_of_rate,
            "tokens": timing.num_tokens,
            "step_s": round(timing.step_s, 6),
            "data_wait_s": round(timing.wait_s, 6),
            "mfu": round(timing.used, 6),
            "time": round(time.time(), 3),
            **({"skipped": result.num_skipped} if result.num_skipped else {}),
            **extra,
        }
        self._since.append(timing)
        self._clips += result.clips
        speaks = self.due or step == self._num_steps
        if speaks:
            line |= self._by_kind()
        with self._lock:
            if self._file is None:
                self._file = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-step-{step:08d}"
                self._events.append(tensorboard.opening(step, time.time()))
            self._lines.append(json.dumps(line) + "\n")
            self._events.append(tensorboard.event(line))
        self._pace.at(step)
        telemetry.TRAIN_STEP.set(step)
        telemetry.TRAIN_LOSS.set(result.loss)
        telemetry.TRAIN_STEP_SECONDS.set(timing.step_s)
        telemetry.TRAIN_DATA_WAIT_SECONDS.set(timing.wait_s)
        telemetry.TRAIN_TOKENS_PER_SECOND.set(timing.num_tokens / timing.step_s)
        telemetry.TRAIN_UTILIZATION.set(timing.used)
        if speaks:
            self._speak(step, result.loss)
        return speaks

    def _speak(self, step: int, loss: float) -> None:
        """The live line: means since the last one."""
        seconds = sum(timing.step_s for timing in self._since)
        tokens = sum(timing.num_tokens for timing in self._since)
        wait = sum(timing.wait_s for timing in self._since)
        used = sum(timing.used * timing.step_s for timing in self._since) / seconds
        logger.info(
            "step %d/%d  loss %.4f  %s tokens/s  step %.3f s  mfu %.1f %%  data wait %.1f %%  %s",
            step, self._num_steps, loss, f"{tokens / seconds:,.0f}", seconds / len(self._since), 100 * used,
            100 * wait / seconds, spoken(self._pace.left_s) if step < self._num_steps else "done",
        )  # fmt: skip
        self._spoke_at = time.monotonic()
        self._since.clear()

    def _by_kind(self) -> dict[str, dict[str, float]]:
        """The first worker's loss since the last live line, by the middle of a bin of sigma and by latent shape."""
        by_sigma: dict[str, list[float]] = collections.defaultdict(list)
        by_shape: dict[str, list[float]] = collections.defaultdict(list)
        for clip in self._clips:
            middle = (min(_SIGMA_BINS - 1, int(clip.sigma * _SIGMA_BINS)) + 0.5) / _SIGMA_BINS
            by_sigma[f"{middle:.2f}"].append(clip.loss)
            by_shape["x".join(map(str, clip.shape))].append(clip.loss)
        self._clips.clear()
        means = {sigma: mean(losses) for sigma, losses in sorted(by_sigma.items())}
        for sigma, loss in means.items():
            telemetry.TRAIN_SIGMA_LOSS.set(loss, {"sigma_bin": sigma})
        return {
            "loss_by_sigma": means,
            "loss_by_shape": {shape: mean(losses) for shape, losses in sorted(by_shape.items())},
        }

    def flush(self) -> None:
        """Store the lines since the last `cut`. Safe from any thread."""
        with self._lock:
            store = self._storing()
        store()

    def cut(self) -> Callable[[], None]:
        """End the current file; what is returned stores it, as often as it is called."""
        with self._lock:
            store = self._storing()
            self._file, self._lines, self._events = None, [], []
        return store

    def _storing(self) -> Callable[[], None]:
        """What stores the current file as it is now, and its twin for TensorBoard."""
        name, text, events = self._file, "".join(self._lines), b"".join(self._events)

        def store() -> None:
            if name is not None:
                lines = storage.join(self._output, METRICS, f"{name}.jsonl")
                storage.write_bytes(lines, text.encode())
                twin = storage.join(self._output, tensorboard.FOLDER, f"events.out.tfevents.{name}")
                storage.write_bytes(twin, events)

        return store


def read_lines(output: str) -> dict[int, dict[str, object]]:
    """The newest line of each step of a run, in order of steps; none before the first was stored."""
    lines: dict[int, dict[str, object]] = {}
    try:
        files = [item.uri for item in storage.list_objects(storage.join(output, METRICS))]
    except MissingObject:
        return {}
    for uri in sorted(file for file in files if file.endswith(".jsonl")):
        for text in storage.read_bytes(uri).decode().splitlines():
            line = json.loads(text)
            lines[line["step"]] = line
    return dict(sorted(lines.items()))
