from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = yaml.safe_load((Path(__file__).parents[1] / "ray_cluster.yaml").read_text())


def test_rays_own_validator_takes_the_cluster_file() -> None:
    validate_config(prepare_config(CLUSTER))


def test_the_cluster_has_a_head_without_work_a_cpu_pool_and_a_gpu_pool_that_scale_to_zero() -> None:
    pools = CLUSTER["available_node_types"]
    assert pools[CLUSTER["head_node_type"]]["resources"]["CPU"] == 0
    workers = [pool for name, pool in pools.items() if name != CLUSTER["head_node_type"]]
    assert all(pool["min_workers"] == 0 for pool in workers)
    assert sorted("GPU" in pool["resources"] for pool in workers) == [False, True]
