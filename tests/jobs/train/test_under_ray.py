"""A run under Ray Train outlives its workers, nodes and driver, and ends at once where trying again can't help."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
COUNTED_S = 22.0  # Ray counts a cluster's nodes for elastic runs every 20 s, from its first one on


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
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",  # of a node just dead the resources are offered for a while
    }
    return subprocess.Popen([sys.executable, "-m", "jobs.train", "--set", *settings(values)], env=environment, **popen)


def wait_until(condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


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


def num_nodes(cluster: LocalCluster) -> int:
    with urllib.request.urlopen(f"{cluster.dashboard_url}/nodes?view=summary", timeout=30) as answer:
        return sum(node["raylet"]["state"] == "ALIVE" for node in json.load(answer)["data"]["summary"])


@contextmanager
def node(cluster: LocalCluster) -> Iterator[int]:
    """One more node with room for one worker: its process group."""
    start = [str(Path(sys.executable).with_name("ray")), "start", f"--address={cluster.address}", "--block"]
    before, log = num_nodes(cluster), subprocess.DEVNULL
    process = subprocess.Popen(
        [*start, "--num-cpus=1", '--resources={"room": 1}', "--object-store-memory=100000000"],
        env=cluster.environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or num_nodes(cluster) > before)
        assert process.poll() is None, f"the node ended with exit code {process.poll()}"
        yield process.pid
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_lost_on_the_way_leaves_one_worker_that_follows_the_same_curve(
    ray_cluster: LocalCluster, s3: str, curated: Any, small: dict[str, Any]
) -> None:
    data, alone, elastic = storage.join(s3, "data"), storage.join(s3, "alone"), storage.join(s3, "elastic")
    curated(data)
    values = small | MANY | {"data": data, "precision": "float32", "steps": 60}
    with node(ray_cluster), node(ray_cluster) as lost:
        there = time.monotonic()
        train_alone(TrainConfig.model_validate(values | {"output": alone}))
        time.sleep(max(0.0, there + COUNTED_S - time.monotonic()))
        values |= {"output": elastic, "num_workers": [1, 2], "resources_per_worker": {"CPU": 1, "room": 1}}
        process = command(ray_cluster, values)
        wait_for_checkpoint(process, elastic, 10)
        os.killpg(lost, signal.SIGKILL)
        assert process.wait(300) == 0

    workers = [line["workers"] for line in read_lines(elastic).values()]
    assert (workers[0], workers[-1]) == (2, 1)
    found = losses(elastic)
    for step, loss in losses(alone).items():
        assert found[step] == pytest.approx(loss, rel=1e-4), step


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_loss_that_is_no_number_ends_the_run_at_once(
    ray_cluster: LocalCluster, s3: str, curated: Any, small: dict[str, Any]
) -> None:
    data, output = storage.join(s3, "data"), storage.join(s3, "run")
    curated(data, spoilt=7)
    process = command(
        ray_cluster, small | {"data": data, "output": output}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _, said = process.communicate(timeout=250)
    assert process.returncode == 1
    assert re.search(r"^jobs\.train: step \d+: loss nan, .*at fault: clip-7 in pack \d of 2", said, re.MULTILINE)
    assert said.count("loss nan") == 1, "it was tried once"
