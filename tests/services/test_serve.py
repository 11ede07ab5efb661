"""The service on a real Ray Serve, from its own ``serve.yaml``: used, scaled, and killed part by part under load."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from jobs.demo.cluster import LocalCluster
from jobs.demo.s3 import EmbeddedS3
from services.video.config import hash_key
from services.video.job import CANCELLED, OPEN, Job, Stage, Status
from services.video.ledger import Ledger
from sora_core import storage

from .live import eventually
from .load import KINDS, Load
from .postgres import PostgresServer, free_port, postgres_binaries
from .receiver import Receiver
from .tiny_model import save_tiny_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
]

ROOT = Path(__file__).parents[2]
OUTPUT = "s3://sora-tests/serve/outputs"


class Deployed:
    """The service on the cluster, its ledger, and the processes that it consists of."""

    def __init__(self, cluster: LocalCluster, url: str, ledger_url: str, database: PostgresServer | None) -> None:
        self.cluster = cluster
        self.url = url
        self.database = database
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-ann")
        self.ledger = Ledger.open(ledger_url)

    def pids(self, class_name: str) -> set[int]:
        """The living processes of an actor class, as Ray's dashboard names them."""
        query = f"{self.cluster.dashboard_url}/api/v0/actors?detail=1&limit=1000"
        with urllib.request.urlopen(query, timeout=10) as answer:
            actors = json.load(answer)["data"]["result"]["result"]
        return {actor["pid"] for actor in actors if actor["class_name"] == class_name and actor["state"] == "ALIVE"}

    def kill(self, class_name: str) -> None:
        """SIGKILL the processes of a class, and wait until others are in their place."""
        victims = eventually(lambda: self.pids(class_name), within_s=60)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.pids(class_name) - victims, within_s=90)

    def ask(self, num_steps: int) -> str:
        return self.ask_for(1, num_steps)[0]

    def ask_for(self, count: int, num_steps: int) -> list[str]:
        """So many videos by one request."""
        extra = {"num_frames": 5, "num_inference_steps": num_steps, "seed": 3, "n": count}
        video: Any = self.client.videos.create(prompt="a red ball", size="48x32", extra_body=extra)  # type: ignore[arg-type]
        return [video.id, *video.siblings]

    def poll(self, video_id: str) -> str:
        return self.client.videos.poll(video_id, poll_interval_ms=200).status

    def job(self, job_id: str) -> Job:
        found = self.ledger.get(job_id)
        assert found is not None, f"{job_id} is lost"
        return found

    def held(self, job_ids: list[str], stage: Stage) -> list[Job]:
        """Those of the jobs that workers have now."""
        jobs = [self.job(job_id) for job_id in job_ids]
        return [job for job in jobs if job.lease_owner is not None and job.stage is stage]


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
def deployed(
    ray_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Deployed]:
    """Samplers from none to two as work comes and goes, and a decoder of its own; on PostgreSQL where it is."""
    folder = tmp_path_factory.mktemp("serve")
    database: PostgresServer | None = request.getfixturevalue("postgres") if postgres_binaries() else None
    ledger_url = database.new_schema() if database else f"sqlite:///{folder}/ledger.db"
    config = yaml.safe_load((ROOT / "services/video/serve.yaml").read_text())
    config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    args = config["applications"][0]["args"]
    args["checkpoint"] = save_tiny_checkpoint("s3://sora-tests/serve/run")
    args["output"] = OUTPUT
    args["ledger"] = ledger_url
    args["api"] = {"keys": {"ann": hash_key("sk-ann")}}
    scaling = {"replicas": 0, "max_replicas": 2, "target_wait_s": 3.0, "scale_delay_s": 4.0}
    args["sampler"] |= {"lease_s": 4.0, "save_every_s": 0.5, **scaling}
    args["decoder"] = {"replicas": 1}
    args["webhooks"] = {"outbound": {"allowed_networks": ["127.0.0.0/8"]}, "poll_s": 0.2}
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    serve(ray_cluster, "deploy", str(folder / "serve.yaml"))
    eventually(lambda: is_running(ray_cluster), within_s=240)
    service = Deployed(ray_cluster, f"http://127.0.0.1:{config['http_options']['port']}", ledger_url, database)
    yield service
    service.client.close()
    service.ledger.close()
    serve(ray_cluster, "shutdown", "-y")


SAMPLER, DECODER, API = (f"ServeReplica:video:{name}" for name in ("sampler", "decoder", "api"))


def test_an_image_is_the_answer_to_its_request_and_a_videos_end_reaches_its_webhook(
    deployed: Deployed, receiver: Receiver
) -> None:
    webhooks = deployed.client.webhooks
    first = webhooks.create(name="mine", url=receiver.url, event_types=["video.completed"])
    assert webhooks.test(first.id, event_type="video.completed").status_code == 200
    headers, body = receiver.received.get(timeout=20)
    webhooks.unwrap(body, headers, secret=first.signing_secret)
    hook = webhooks.rotate_secret(first.id)
    image = deployed.client.images.generate(prompt="a red ball", size="48x32", extra_body={"num_inference_steps": 2})  # type: ignore[call-overload]
    assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG")
    video_id = deployed.ask(num_steps=2)
    assert deployed.poll(video_id) == "completed"
    headers, body = receiver.received.get(timeout=20)
    event: Any = webhooks.unwrap(body, headers, secret=hook.signing_secret)
    assert (event.type, event.data.id) == ("video.completed", video_id)
    webhooks.delete(hook.id)


def test_a_request_has_one_name(deployed: Deployed) -> None:
    answer = deployed.client.videos.with_raw_response.list()
    (name,) = answer.headers.get_list("x-request-id")
    assert answer.request_id == name


def test_the_samplers_numbers_are_at_rays_prometheus_endpoint(deployed: Deployed, ray_cluster: LocalCluster) -> None:
    def scraped() -> bool:
        with urllib.request.urlopen(ray_cluster.metrics_url, timeout=10) as answer:
            text = answer.read().decode()
        return all(name in text for name in ("ray_sora_video_denoise_steps_total", "ray_sora_video_requests_total"))

    assert eventually(scraped, within_s=40)
    with urllib.request.urlopen(f"{deployed.url}/metrics", timeout=10) as answer:
        assert 'sora_video_queue_jobs{status="completed"}' in answer.read().decode()


def test_whatever_dies_every_accepted_job_ends_once(deployed: Deployed, s3_server: EmbeddedS3) -> None:
    """Under a mixed load: a sampler and a decoder at work, an API replica, the proxy and Serve's controller are killed,
    PostgreSQL is restarted, and the storage is away for a while."""
    before = sum(deployed.ledger.roster.counts().values())
    with Load(deployed.url, "sk-ann", pause_s=1.0) as load:
        eventually(lambda: any(job.progress > 5 for job in deployed.held(load.accepted, Stage.SAMPLE)), within_s=120)
        deployed.kill(SAMPLER)
        eventually(lambda: deployed.held(load.accepted, Stage.DECODE), within_s=60)
        deployed.kill(DECODER)
        for victim in (API, "ProxyActor", "ServeController"):
            deployed.kill(victim)
            load.ask(KINDS[0])
        if deployed.database is not None:
            deployed.database.stop()
            time.sleep(5)
            deployed.database.start()
        s3_server.stop()
        time.sleep(10)
        s3_server.start()
        last = load.ask(KINDS[0])
    eventually(lambda: not [job_id for job_id in load.accepted if deployed.job(job_id).status in OPEN], within_s=240)
    assert deployed.job(last).status is Status.COMPLETED
    assert load.refused > 0
    assert load.untold == [], "an answer of 5xx that isn't the API's envelope"
    assert len(load.accepted) == len(set(load.accepted)) == sum(deployed.ledger.roster.counts().values()) - before
    for job_id in load.accepted:
        _check_end(deployed.job(job_id), cancelled=job_id in load.cancelled)


def _check_end(job: Job, *, cancelled: bool) -> None:
    """One end, and of a completed job one video, which is the one that its row names."""
    assert job.status is Status.COMPLETED or (cancelled and job.error_code == CANCELLED), (job.error_code, job)
    stored = [item for item in storage.list_objects(f"{OUTPUT}/videos/{job.id}") if item.uri.endswith(".mp4")]
    if job.status is Status.COMPLETED:
        assert job.result is not None
        assert [item.uri for item in stored] == [job.result["video"]["uri"]]
        assert stored[0].size == job.result["video"]["bytes"]


def test_a_predicted_wait_above_the_target_adds_a_sampler_and_without_work_they_go(deployed: Deployed) -> None:
    """Runs after the rate of a sampler is known; the work queued here outlasts the start of a replica."""
    ids = [video_id for _ in range(19) for video_id in deployed.ask_for(8, num_steps=100)]
    eventually(lambda: len(deployed.pids(SAMPLER)) == 2, within_s=120)
    for video_id in ids:
        deployed.ledger.cancel(video_id)
    eventually(lambda: not deployed.pids(SAMPLER), within_s=90)
    assert deployed.poll(deployed.ask(num_steps=4)) == "completed"
