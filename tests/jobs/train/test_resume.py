"""Killed and started again, a run is the run it would have been."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.train.config import TrainConfig, ValidationConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from sora_core import checkpoint
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from tests.groups import run

CPU = torch.device("cpu")


def losses(output: str) -> dict[int, object]:
    return {step: line["loss"] for step, line in read_lines(output).items()}


def quietly(_step: int, _loss: float) -> None: ...


def at(config: TrainConfig, output: Path | str, **changes: object) -> TrainConfig:
    return config.model_copy(update={"output": str(output), **changes})


class Killed(Exception):
    pass


def test_a_run_cut_anywhere_and_resumed_is_bit_for_bit_the_uninterrupted_one(
    small_run: TrainConfig, tmp_path: Path
) -> None:
    whole, cut = at(small_run, tmp_path / "whole"), at(small_run, tmp_path / "cut", log_every_s=1e-9)

    def stop_at(last: int) -> None:
        def report(step: int, _loss: float) -> None:
            if step >= last:
                raise Killed

        with pytest.raises(Killed):
            train_steps(cut, CPU, report)

    train_steps(whole, CPU, quietly)
    stop_at(3)  # before the first checkpoint: all of it again
    stop_at(7)
    stop_at(8)
    train_steps(cut, CPU, quietly)
    assert list(losses(cut.output)) == list(range(1, 13))
    assert losses(cut.output) == losses(whole.output)
    ours, theirs = (checkpoint.load_model(at_.output)[0] for at_ in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_line_a_step_and_validation_by_noise_level(small_run: TrainConfig) -> None:
    train_steps(small_run, CPU, quietly)
    lines = read_lines(small_run.output)
    assert list(lines) == list(range(1, 13))
    judged = {step: line["val_loss"] for step, line in lines.items() if "val_loss" in line}
    assert list(judged) == [6, 12]
    assert all(isinstance(found, dict) and list(found) == ["0.10", "0.30", "0.50", "0.70", "0.90"]
               for found in judged.values())  # fmt: skip


def test_a_caption_of_the_world_is_judged_with_each_of_its_words_swapped(small_run: TrainConfig, curated: Any) -> None:
    encoders = VideoAutoencoder.load(), TextEncoder.load()
    curated(small_run.data, encoders=encoders, captions=("a red ball moves left over grass", "no sentence of it"))
    config = at(small_run, small_run.output, pack_tokens=256, steps=2, validation=ValidationConfig(every=2, clips=4))
    train_steps(config, CPU, quietly)
    gaps = read_lines(config.output)[2]["word_gap"]
    assert isinstance(gaps, dict)
    words, sigmas = ("colour", "shape", "background", "direction"), ("0.10", "0.30", "0.50", "0.70", "0.90")
    assert set(gaps) == {f"{word}/{sigma}" for word in words for sigma in sigmas}
    assert max(map(abs, gaps.values())) < 0.1  # it has learned no word yet


def train_until(config: TrainConfig, last: int) -> None:
    """The loop, left after a step; its checkpoints before that one are written."""

    def report(step: int, _loss: float) -> None:
        if step >= last:
            raise Killed

    with contextlib.suppress(Killed):
        train_steps(config, CPU, report)


@pytest.mark.slow
def test_workers_may_change_in_number_and_in_what_they_hold_and_follow_the_curve_of_one(
    small_run: TrainConfig, tmp_path: Path
) -> None:
    small_run = at(small_run, "", precision="float32", checkpoint_every=3, packs_per_step=3, log_every_s=1e-9)
    one, moved = at(small_run, tmp_path / "one"), at(small_run, tmp_path / "moved")
    train_steps(one, CPU, quietly)
    run(2, train_until, moved, 4)
    run(2, train_until, at(moved, moved.output, parallel="fsdp"), 7)
    train_until(moved, 10)
    run(2, train_until, at(moved, moved.output, context_parallel=2), 13)  # to its end
    assert [found.step for found in checkpoint.list_checkpoints(moved.output)] == [3, 6, 9, 12]
    alone, together = losses(one.output), losses(moved.output)
    assert together.keys() == alone.keys()
    for step, loss in alone.items():
        assert together[step] == pytest.approx(loss, rel=1e-5), step
