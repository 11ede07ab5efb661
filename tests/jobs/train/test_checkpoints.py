"""A checkpoint is whole or passed over, and no storage that is away stops a step."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import torch

from jobs.demo.s3 import EmbeddedS3
from jobs.train import writer
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from sora_core import checkpoint, storage
from sora_core.errors import StorageUnavailable
from tests.groups import run

CPU = torch.device("cpu")


def quietly(_step: int, _loss: float) -> None: ...


def at(config: TrainConfig, output: Path | str, **changes: object) -> TrainConfig:
    return config.model_copy(update={"output": str(output), **changes})


def losses(output: str) -> dict[int, object]:
    return {step: line["loss"] for step, line in read_lines(output).items()}


def steps_kept(output: str) -> list[int]:
    return [found.step for found in checkpoint.list_checkpoints(output)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_checkpoint_without_its_meta_or_with_parts_gone_is_passed_over(
    small_run: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = at(small_run, tmp_path / "whole"), at(small_run, tmp_path / "cut", checkpoint_every=3)
    train_steps(whole, CPU, quietly)
    train_steps(cut, CPU, quietly)
    storage.delete(storage.join(checkpoint.step_uri(cut.output, 12), checkpoint.META))
    Path(checkpoint.step_uri(cut.output, 9), "state", "__0_0.distcp").write_bytes(b"half")
    Path(checkpoint.step_uri(cut.output, 6), "state", ".metadata").write_bytes(b"half")
    train_steps(cut, CPU, quietly)
    passed_over = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert len(passed_over) == 2
    assert "step-9 is passed over: __0_0.distcp missing or cut short" in passed_over[0]
    assert "step-6 is passed over: its index can't be read" in passed_over[1]
    assert losses(cut.output) == losses(whole.output)
    assert steps_kept(cut.output) == [3, 6, 9, 12]


def _killed_while_writing_step_8(config: TrainConfig) -> None:
    """The second worker dies when half of its part is out."""
    open_output = storage.open_output

    @contextmanager
    def dying(uri: str) -> Iterator[IO[bytes]]:
        with open_output(uri) as stream:
            if "step-8/state/__1_" in uri:
                stream.write(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            yield stream

    storage.open_output = dying
    train_steps(config, CPU, quietly)


@pytest.mark.slow
def test_a_worker_killed_while_it_writes_its_part_leaves_the_checkpoint_before(
    small_run: TrainConfig, tmp_path: Path
) -> None:
    config = at(small_run, tmp_path / "run")
    run(2, _killed_while_writing_step_8, config, exit_codes=[None, -signal.SIGKILL])
    assert steps_kept(config.output) == [4]
    assert (tmp_path / "run" / "checkpoints" / "step-8" / "state" / "__1_0.distcp").exists()
    train_steps(config, CPU, quietly)
    assert steps_kept(config.output) == [4, 8, 12]
    assert not (tmp_path / "run" / "checkpoints" / "step-8" / "state" / "__1_0.distcp").exists()


def test_old_checkpoints_go_when_only_some_are_to_be_kept(small_run: TrainConfig, tmp_path: Path) -> None:
    train_steps(at(small_run, small_run.output, checkpoint_every=3, keep_checkpoints=2), CPU, quietly)
    assert steps_kept(small_run.output) == [9, 12]
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-12", "step-9"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks run faster: pauses between attempts, and boto3's own between its retries."""
    sleep = time.sleep
    monkeypatch.setattr(writer, "RETRY_S", (0.2,) * 400)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: sleep(min(seconds, 0.01)))


@pytest.mark.slow
def test_training_goes_on_while_the_storage_is_away_and_says_so(
    small_run: TrainConfig, s3_server: EmbeddedS3, s3: str, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    def said(text: str) -> bool:
        return any(text in record.getMessage() for record in caplog.records)

    def report(step: int, _loss: float) -> None:
        if step == 3:
            wait_until(lambda: steps_kept(s3) == [2])
            s3_server.stop()
        if step == 5:
            wait_until(lambda: said("step 4: checkpoint not written, again in"))
        if step == 7:
            s3_server.start()

    train_steps(at(small_run, s3, checkpoint_every=2, log_every_s=1e-9), CPU, report)
    assert said("step 6: no checkpoint, the one before is still being written")
    assert {2, 4, 12} <= set(steps_kept(s3)) <= {2, 4, 8, 10, 12}
    assert list(losses(s3)) == list(range(1, 13))


def test_the_lines_of_a_checkpoint_that_was_given_up_are_stored_with_the_next(
    small_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", ())
    save_model, given_up = checkpoint.save_model, []

    def full_at_first(uri: str, weights: dict[str, torch.Tensor], meta: checkpoint.Meta) -> None:
        if not given_up:
            given_up.append(uri)
            raise StorageUnavailable(f"{uri}: the disk is full; free some room")
        save_model(uri, weights, meta)

    monkeypatch.setattr(checkpoint, "save_model", full_at_first)
    train_steps(small_run, CPU, quietly)
    assert steps_kept(small_run.output) == [8, 12]
    assert list(losses(small_run.output)) == list(range(1, 13))


@pytest.mark.slow
def test_a_last_checkpoint_that_cannot_be_written_fails_the_run(
    small_run: TrainConfig, s3_server: EmbeddedS3, s3: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", (0.1, 0.1))

    def report(step: int, _loss: float) -> None:
        if step == 5:
            wait_until(lambda: steps_kept(s3) == [4])
            s3_server.stop()

    try:
        with pytest.raises(StorageUnavailable, match="step-12"):
            train_steps(at(small_run, s3, log_every_s=1e-9), CPU, report)
    finally:
        s3_server.start()
    assert steps_kept(s3) == [4]
