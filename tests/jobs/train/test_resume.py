"""Killed and started again, a run is the run it would have been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.demo.cluster import LocalCluster
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from sora_core import checkpoint, storage

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


def test_a_half_written_checkpoint_is_passed_over(small_run: TrainConfig, tmp_path: Path) -> None:
    whole, cut = at(small_run, tmp_path / "whole"), at(small_run, tmp_path / "cut", steps=8)
    train_steps(whole, CPU, quietly)
    train_steps(at(small_run, cut.output, steps=12), CPU, quietly)
    for step in (8, 12):
        storage.delete(storage.join(checkpoint.step_uri(cut.output, step), checkpoint.META))
    Path(checkpoint.step_uri(cut.output, 12), "state", "__0_0.distcp").write_bytes(b"half")
    train_steps(at(small_run, cut.output), CPU, quietly)
    assert losses(cut.output) == losses(whole.output)
    assert [found.step for found in checkpoint.list_checkpoints(cut.output)] == [4, 8, 12]


def test_old_checkpoints_go_when_only_some_are_to_be_kept(small_run: TrainConfig) -> None:
    train_steps(at(small_run, small_run.output, keep_checkpoints=1), CPU, quietly)
    assert [found.step for found in checkpoint.list_checkpoints(small_run.output)] == [12]


def test_a_line_a_step_and_validation_by_noise_level(small_run: TrainConfig) -> None:
    train_steps(small_run, CPU, quietly)
    lines = read_lines(small_run.output)
    assert list(lines) == list(range(1, 13))
    judged = {step: line["val_loss"] for step, line in lines.items() if "val_loss" in line}
    assert list(judged) == [6, 12]
    assert all(isinstance(found, dict) and list(found) == ["0.10", "0.30", "0.50", "0.70", "0.90"]
               for found in judged.values())  # fmt: skip


_ONE_OF_SEVERAL = """
import sys
import torch.distributed as dist
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
import torch
folder, rank, size, config = sys.argv[1:]
dist.init_process_group("gloo", f"file://{folder}/meet", rank=int(rank), world_size=int(size))
train_steps(TrainConfig.model_validate_json(config), torch.device("cpu"), lambda step, loss: None)
dist.barrier()
dist.destroy_process_group()
"""


def train_with(workers: int, config: TrainConfig, folder: Path) -> None:
    """The loop on so many bare processes."""
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_OF_SEVERAL, str(folder), str(rank), str(workers), config.model_dump_json()]
        )
        for rank in range(workers)
    ]
    assert [process.wait() for process in processes] == [0] * workers


@pytest.mark.slow
def test_two_then_one_then_two_workers_follow_the_curve_of_one(small_run: TrainConfig, tmp_path: Path) -> None:
    small_run = small_run.model_copy(update={"precision": "float32"})
    train_steps(at(small_run, tmp_path / "one"), CPU, quietly)
    moved = tmp_path / "moved"
    train_with(2, at(small_run, moved, steps=12, checkpoint_every=4), tmp_path / "first")
    for step in (8, 12):
        storage.delete(storage.join(checkpoint.step_uri(str(moved), step), checkpoint.META))
    train_steps(at(small_run, moved), CPU, quietly)
    storage.delete(storage.join(checkpoint.step_uri(str(moved), 12), checkpoint.META))
    train_with(2, at(small_run, moved), tmp_path / "last")
    alone, together = losses(str(tmp_path / "one")), losses(str(moved))
    assert together.keys() == alone.keys()
    for step, loss in alone.items():
        assert together[step] == pytest.approx(loss, rel=1e-4), step


# --- with Ray Train, two workers, S3, and real kills


def command(cluster: LocalCluster, data: str, output: str) -> subprocess.Popen[bytes]:
    settings = [
        f"data={data}", f"output={output}", "steps=120", "checkpoint_every=10", "pack_tokens=64", "samples.count=0",
        "validation.every=1000", "model.num_layers=2", "model.num_attention_heads=2", "model.attention_head_dim=8",
        "model.ffn_dim=32", "optimizer.warmup_clips=10", "num_workers=2", "log_every_s=1",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.train", "--set", *settings],
        env=cluster.environment | {"RAY_ADDRESS": cluster.address},
    )


def wait_for_checkpoint(process: subprocess.Popen[bytes], output: str, step: int, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        found = checkpoint.list_checkpoints(output)
        if found and found[-1].step >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint at step {step}; exit code {process.poll()}")


def train_workers(cluster: LocalCluster) -> list[int]:
    """Processes of Ray Train's workers on this very cluster."""
    mine = f"RAY_TMPDIR={cluster.environment['RAY_TMPDIR']}".encode()
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"RayTrainWorker" in (entry / "cmdline").read_bytes():
                pids += [int(entry.name)] * (mine in (entry / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue
    return pids


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_worker_then_killed_driver_then_the_same_command_change_no_loss(
    ray_cluster: LocalCluster, s3: str, curated: Any
) -> None:
    data, whole, cut = storage.join(s3, "data"), storage.join(s3, "whole"), storage.join(s3, "cut")
    curated(data)
    assert command(ray_cluster, data, whole).wait(300) == 0

    first = command(ray_cluster, data, cut)
    wait_for_checkpoint(first, cut, 10)
    os.kill(random.choice(train_workers(ray_cluster)), signal.SIGKILL)
    wait_for_checkpoint(first, cut, checkpoint.list_checkpoints(cut)[-1].step + 20)
    first.kill()
    first.wait()
    assert checkpoint.list_checkpoints(cut)[-1].step < 120
    assert command(ray_cluster, data, cut).wait(300) == 0

    assert losses(cut) == losses(whole)
