"""The service on a real Ray Serve, from its own ``serve.yaml``: deployed, used, and its sampler killed at work."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from jobs.demo.cluster import LocalCluster
from services.video.config import hash_key
from services.video.job import Status
from services.video.ledger import Ledger
from sora_core import storage

from .live import eventually
from .postgres import free_port
from .tiny_model import save_tiny_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
]

ROOT = Path(__file__).parents[2]


class Deployed:
    """The service on the cluster: a client for it, and its ledger."""

    def __init__(self, url: str, ledger_url: str) -> None:
        self.url = url
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-ann")
        self.ledger = Ledger.open(ledger_url)


def serve(cluster: LocalCluster, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("serve")), *arguments, "--address", cluster.dashboard_url]
    done = subprocess.run(command, env=cluster.environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def application(cluster: LocalCluster) -> dict[str, Any]:
    with urllib.request.urlopen(f"{cluster.dashboard_url}/api/serve/applications/", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["applications"].get("video", {})
    return found


def is_running(cluster: LocalCluster) -> bool:
    found = application(cluster)
    assert found.get("status") != "DEPLOY_FAILED", json.dumps(found)[:3000]
    return found.get("status") == "RUNNING"


@pytest.fixture(scope="module")
def deployed(ray_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("serve")
    config = yaml.safe_load((ROOT / "services/video/serve.yaml").read_text())
    config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    args = config["applications"][0]["args"]
    args["checkpoint"] = save_tiny_checkpoint("s3://sora-tests/serve/run")
    args["output"] = "s3://sora-tests/serve/outputs"
    args["ledger"] = f"sqlite:///{folder}/ledger.db"
    args["api"] = {"keys": {"ann": hash_key("sk-ann")}}
    args["sampler"] |= {"lease_s": 3.0, "max_replicas": 2, "target_wait_s": 2.0, "scale_delay_s": 1.0}
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    serve(ray_cluster, "deploy", str(folder / "serve.yaml"))
    eventually(lambda: is_running(ray_cluster), within_s=240)
    service = Deployed(f"http://127.0.0.1:{config['http_options']['port']}", args["ledger"])
    yield service
    service.ledger.close()
    serve(ray_cluster, "shutdown", "-y")


def create(service: Deployed, num_steps: int) -> str:
    extra = {"num_frames": 5, "num_inference_steps": num_steps, "seed": 3}
    video = service.client.videos.create(prompt="a red ball", size="48x32", extra_body=extra)  # type: ignore[arg-type]
    return video.id


def test_a_sampler_killed_at_work_loses_no_job_and_finishes_none_twice(deployed: Deployed) -> None:
    ids = [create(deployed, num_steps=100) for _ in range(2)]
    working = eventually(lambda: _sampling(deployed.ledger, ids), within_s=60)
    held = [job for job in map(deployed.ledger.get, ids) if job and job.lease_owner == working.lease_owner]
    victim = int(str(working.lease_owner).split("-")[-2])
    os.kill(victim, signal.SIGKILL)
    for video_id in ids:
        assert deployed.client.videos.poll(video_id, poll_interval_ms=200).status == "completed"
    jobs = [deployed.ledger.get(video_id) for video_id in ids]
    assert {job.id for job in jobs if job and job.attempts == 3} == {job.id for job in held}
    for job in jobs:
        assert job is not None
        assert job.status is Status.COMPLETED
        assert job.result is not None
        stored = [item.uri for item in storage.list_objects(f"s3://sora-tests/serve/outputs/videos/{job.id}")]
        assert [uri for uri in stored if uri.endswith(".mp4")] == [job.result["video"]["uri"]]
        assert len(deployed.client.videos.download_content(job.id).read()) == job.result["video"]["bytes"]


def _sampling(ledger: Ledger, ids: list[str]) -> Any:
    """A job of these, once all are being sampled and one has visibly come some way."""
    jobs = [ledger.get(video_id) for video_id in ids]
    under_way = [job for job in jobs if job is not None and job.status is Status.IN_PROGRESS]
    return under_way[0] if len(under_way) == len(ids) and under_way[0].progress > 5 else None


def test_a_predicted_wait_above_the_target_adds_a_sampler(deployed: Deployed) -> None:
    """Runs after the rate of a sampler is known; the work queued here outlasts the start of a replica."""
    ids = [create(deployed, num_steps=100) for _ in range(150)]
    eventually(lambda: len(deployed_samplers(deployed)) == 2, within_s=120)
    for video_id in ids:
        deployed.ledger.cancel(video_id)


def deployed_samplers(deployed: Deployed) -> set[str]:
    """The workers that hold a job now."""
    page = deployed.ledger.page("ann", limit=100)
    return {job.lease_owner for job in page.jobs if job.lease_owner is not None}


def test_a_request_has_one_name(deployed: Deployed) -> None:
    answer = deployed.client.videos.with_raw_response.list()
    (name,) = answer.headers.get_list("x-request-id")
    assert answer.request_id == name


def test_the_samplers_numbers_are_at_rays_prometheus_endpoint(deployed: Deployed, ray_cluster: LocalCluster) -> None:
    deployed.client.videos.poll(create(deployed, num_steps=2), poll_interval_ms=200)

    def scraped() -> bool:
        with urllib.request.urlopen(ray_cluster.metrics_url, timeout=10) as answer:
            text = answer.read().decode()
        return all(name in text for name in ("ray_sora_video_denoise_steps_total", "ray_sora_video_requests_total"))

    assert eventually(scraped, within_s=40)
    with urllib.request.urlopen(f"{deployed.url}/metrics", timeout=10) as answer:
        assert 'sora_video_queue_jobs{status="completed"}' in answer.read().decode()
