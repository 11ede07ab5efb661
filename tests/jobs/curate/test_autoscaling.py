"""A cluster that has no node for work brings some when the job wants them, and gives them back."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from jobs.curate.config import CurateConfig
from jobs.curate.pipeline import core_of_actor, curate
from jobs.demo.cluster import LocalCluster
from sora_core import shards
from tests.jobs.curate.stripes import write_footage

IDLE_MINUTES = 0.05


class AutoscalingCluster(LocalCluster):
    """A head without cores, and nodes that Ray's autoscaler starts as processes of this machine. It is what
    `ray.cluster_utils.AutoscalingCluster` starts, which ends every other Ray of the machine first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / "autoscaling.json"
        super().__init__(
            folder,
            {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"},
            num_cpus=0,
            object_store_bytes=100_000_000,
            arguments=[f"--autoscaling-config={path}"],
        )
        node = {"CPU": 1, "object_store_memory": 100_000_000}
        path.write_text(
            json.dumps(
                {
                    "cluster_name": "fake",
                    "max_workers": 3,
                    "idle_timeout_minutes": IDLE_MINUTES,
                    "upscaling_speed": 10,
                    "provider": {
                        "type": "fake_multinode",
                        "gcs_address": self.address,
                        "head_node_id": FAKE_HEAD_NODE_ID,
                    },
                    "auth": {},
                    "available_node_types": {
                        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                        "cpu": {"resources": node, "node_config": {}, "min_workers": 0, "max_workers": 3},
                    },
                    "head_node_type": "ray.head.default",
                    "docker": {},
                    "file_mounts": {},
                    "initialization_commands": [],
                    "setup_commands": [],
                    "head_setup_commands": [],
                    "worker_setup_commands": [],
                    "head_start_ray_commands": [],
                    "worker_start_ray_commands": [],
                }
            )
        )


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AutoscalingCluster]:
    with AutoscalingCluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster


def num_workers() -> int:
    """Living nodes that can work."""
    return sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_grows_from_nothing_for_the_job_and_shrinks_again(
    cluster: AutoscalingCluster, config: CurateConfig
) -> None:
    Path(config.source).mkdir()
    write_footage(Path(config.source))
    ray.init(address=cluster.address, log_to_driver=False)
    assert num_workers() == 0
    ray.shutdown()
    curate(config.model_copy(update={"sources_per_part": 4}))
    assert shards.read_manifest(config.output).totals.clips == 9
    ray.init(address=cluster.address, log_to_driver=False)
    grown = sum(node["Resources"].get("CPU", 0) > 0 or not node["Alive"] for node in ray.nodes())
    assert grown >= 2, "one for each stage"
    deadline = time.monotonic() + 300
    while num_workers() and time.monotonic() < deadline:
        time.sleep(1)
    assert num_workers() == 0
    ray.shutdown()


def test_an_actor_asks_for_a_whole_core_wherever_it_can_be_had() -> None:
    assert core_of_actor(0, 2) == 1, "a cluster that has nothing yet is to bring a node"
    assert core_of_actor(16, 3) == core_of_actor(3, 2) == 1
    assert 2 * core_of_actor(2, 2) < 2, "a task must have room beside an actor of each stage"
