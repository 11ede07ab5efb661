"""A run under Ray Train outlives its workers and its driver."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.demo.cluster import LocalCluster
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from sora_core import checkpoint, storage
from tests.groups import run

CPU = torch.device("cpu")
MANY = {"steps": 120, "checkpoint_every": 10, "validation": {"every": 1000}, "log_every_s": 1.0}


def losses(output: str) -> dict[int, object]:
    return {step: line["loss"] for step, line in read_lines(output).items()}


def train_alone(config: TrainConfig) -> None:
    train_steps(config, CPU, lambda _step, _loss: None)


def settings(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value if isinstance(value, str) else json.dumps(value)}"


def command(cluster: LocalCluster, values: dict[str, Any], **popen: Any) -> subprocess.Popen[Any]:
    """The job on a cluster."""
    environment = cluster.environment | {
        "RAY_ADDRESS": cluster.address,
    }
    return subprocess.Popen([sys.executable, "-m", "jobs.train", "--set", *settings(values)], env=environment, **popen)


def wait_for_checkpoint(process: subprocess.Popen[Any], output: str, step: int, timeout_s: float = 150.0) -> int:
    """The newest checkpoint, once it is at or after a step."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        found = checkpoint.list_checkpoints(output)
        if found and found[-1].step >= step:
            return found[-1].step
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
    ray_cluster: LocalCluster, s3: str, curated: Any, small: dict[str, Any]
) -> None:
    data, whole, cut = storage.join(s3, "data"), storage.join(s3, "whole"), storage.join(s3, "cut")
    curated(data)
    values = small | MANY | {"data": data}
    run(2, train_alone, TrainConfig.model_validate(values | {"output": whole}))

    first = command(ray_cluster, values | {"output": cut})
    reached = wait_for_checkpoint(first, cut, 10)
    os.kill(random.choice(train_workers(ray_cluster)), signal.SIGKILL)
    wait_for_checkpoint(first, cut, reached + 20)
    first.kill()
    first.wait()
    assert checkpoint.list_checkpoints(cut)[-1].step < 120
    assert command(ray_cluster, values | {"output": cut}).wait(300) == 0

    assert losses(cut) == losses(whole)
