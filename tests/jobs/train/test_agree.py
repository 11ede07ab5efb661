"""All workers of a run multiply in the same numbers, and go on in those after every restart."""

import json
import logging
from pathlib import Path

import pytest
import torch

from jobs.train import agree
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from sora_core import checkpoint, precision
from tests.groups import run

CPU = torch.device("cpu")
EXACT, REDUCED = precision.EXACT, precision.REDUCED


def _agree_as_one_of_two(config: TrainConfig) -> None:
    """The second worker's cores are plain."""
    torch.set_num_threads(1)
    first = agree.rank_and_size()[0] == 0
    precision.fast = lambda _device: REDUCED if first else EXACT
    precision.slowdown = lambda *_: 59.0
    assert agree.agreed(config, None, CPU).precision == EXACT
    chosen = config.model_copy(update={"precision": REDUCED})
    assert agree.agreed(chosen, None, CPU).precision == REDUCED


def test_workers_take_what_all_of_them_compute_fast(small_run: TrainConfig) -> None:
    run(2, _agree_as_one_of_two, small_run)


@pytest.mark.slow
def test_a_run_goes_on_in_its_own_precision_and_a_slow_machine_says_so(
    small_run: TrainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(precision, "fast", lambda _device: REDUCED)
    half = small_run.model_copy(update={"steps": 4})
    train_steps(half, CPU, lambda _step, _loss: None)
    first = checkpoint.read_meta(checkpoint.step_uri(half.output, 4))
    assert first.training["precision"] == REDUCED
    assert "precision: bfloat16 (what all workers compute fast)" in caplog.messages
    caplog.clear()
    monkeypatch.setattr(precision, "fast", lambda _device: EXACT)
    monkeypatch.setattr(precision, "slowdown", lambda *_: 59.04)
    assert agree.expected(small_run, first).precision == REDUCED
    train_steps(small_run, CPU, lambda _step, _loss: None)
    assert checkpoint.read_meta(checkpoint.step_uri(half.output, 12)).training["precision"] == REDUCED
    assert "precision: bfloat16 (as this run began)" in caplog.messages
    assert [message for message in caplog.messages if "59 times as long" in message]
    assert json.loads((Path(half.output) / "config.json").read_text())["precision"] == REDUCED
