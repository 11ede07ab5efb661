"""What a run writes about itself: a line a step in ``metrics/*.jsonl``, a live line, gauges."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sora_core import storage, telemetry
from sora_core.errors import MissingObject
from sora_core.training.trainer import StepResult

logger = logging.getLogger(__name__)

METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class StepTiming:
    """How long a step took and how much of that its worker waited for data, in seconds; the tokens of all workers."""

    step_s: float
    wait_s: float
    num_tokens: int


class Record:
    """The first worker's account of a run; one file of lines from checkpoint to checkpoint."""

    def __init__(self, output: str, num_steps: int, log_every_s: float) -> None:
        self._output = output
        self._num_steps = num_steps
        self._log_every_s = log_every_s
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._file: str | None = None
        self._spoke_at = self._began_at = time.monotonic()
        self._since: list[StepTiming] = []
        self._steps_timed = 0

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
            "time": round(time.time(), 3),
            **({"skipped": result.num_skipped} if result.num_skipped else {}),
            **extra,
        }
        with self._lock:
            self._file = self._file or f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-step-{step:08d}.jsonl"
            self._lines.append(json.dumps(line))
        self._since.append(timing)
        self._steps_timed += 1
        telemetry.TRAIN_STEP.set(step)
        telemetry.TRAIN_LOSS.set(result.loss)
        telemetry.TRAIN_STEP_SECONDS.set(timing.step_s)
        telemetry.TRAIN_DATA_WAIT_SECONDS.set(timing.wait_s)
        telemetry.TRAIN_TOKENS_PER_SECOND.set(timing.num_tokens / timing.step_s)
        speaks = self.due or step == self._num_steps
        if speaks:
            self._speak(step, result.loss)
        return speaks

    def _speak(self, step: int, loss: float) -> None:
        """The live line: means since the last one."""
        seconds = sum(timing.step_s for timing in self._since)
        tokens = sum(timing.num_tokens for timing in self._since)
        wait = sum(timing.wait_s for timing in self._since)
        left_s = (time.monotonic() - self._began_at) / self._steps_timed * (self._num_steps - step)
        logger.info(
            "step %d/%d  loss %.4f  %s tokens/s  step %.3f s  data wait %.1f %%  left %d:%02d",
            step, self._num_steps, loss, f"{tokens / seconds:,.0f}", seconds / len(self._since),
            100 * wait / seconds, *divmod(round(left_s), 60),
        )  # fmt: skip
        self._spoke_at = time.monotonic()
        self._since.clear()

    def flush(self) -> None:
        """Store the lines since the last `cut`. Safe from any thread."""
        with self._lock:
            name, text = self._file, "".join(f"{line}\n" for line in self._lines)
        if name is not None:
            storage.write_bytes(storage.join(self._output, METRICS, name), text.encode())

    def cut(self) -> Callable[[], None]:
        """End the current file; what is returned stores it, as often as it is called."""
        with self._lock:
            name, text = self._file, "".join(f"{line}\n" for line in self._lines)
            self._file, self._lines = None, []
        if name is None:
            return lambda: None
        return lambda: _write(storage.join(self._output, METRICS, name), text)


def _write(uri: str, text: str) -> None:
    storage.write_bytes(uri, text.encode())


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
