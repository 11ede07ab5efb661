from pathlib import Path

import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
CLUSTER = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


def test_rays_own_validator_takes_the_cluster_file() -> None:
    validate_config(prepare_config(CLUSTER))


def test_the_cluster_has_a_head_without_work_a_cpu_pool_and_a_gpu_pool_that_scale_to_zero() -> None:
    pools = CLUSTER["available_node_types"]
    assert pools[CLUSTER["head_node_type"]]["resources"]["CPU"] == 0
    workers = [pool for name, pool in pools.items() if name != CLUSTER["head_node_type"]]
    assert all(pool["min_workers"] == 0 for pool in workers)
    assert sorted("GPU" in pool["resources"] for pool in workers) == [False, True]


def test_a_kubernetes_cluster_grows_and_shrinks() -> None:
    service = yaml.safe_load((ROOT / "infra" / "k8s" / "rayservice.yaml").read_text())
    cluster = service["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert all(group["minReplicas"] < group["maxReplicas"] for group in cluster["workerGroupSpecs"])


def test_rays_dashboard_finds_prometheus_and_grafana_under_the_names_that_it_reads() -> None:
    reader = (Path(ray.__file__).parent / "dashboard/modules/metrics/metrics_head.py").read_text()
    head = next(line for line in CLUSTER["head_start_ray_commands"] if "ray start --head" in line)
    for name in ("RAY_PROMETHEUS_HOST", "RAY_GRAFANA_HOST", "RAY_GRAFANA_IFRAME_HOST"):
        assert f'"{name}"' in reader
        assert f"{name}=http://" in head
    provisioning = ROOT / "infra" / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    assert f'DEFAULT_PROMETHEUS_NAME = "{source["name"]}"' in reader
    assert f"RAY_PROMETHEUS_HOST={source['url']}" in head
