"""A real Prometheus scrapes the service at work and answers what an operator asks."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .live import LiveService, eventually
from .postgres import free_port

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


class Prometheus:
    """The server at a loopback port."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives; none while the server isn't up."""
        try:
            with urllib.request.urlopen(self._url + urllib.parse.urlencode({"query": query}), timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return found

    def value(self, query: str) -> float | None:
        """The one number that a query gives."""
        found = self.ask(query)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture(scope="module")
def prometheus(live: LiveService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    target = {"static_configs": [{"targets": [live.url.removeprefix("http://")]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "sora", **target}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    server = subprocess.Popen(command)
    yield Prometheus(port)
    server.terminate()
    server.wait(10)


@pytest.mark.slow
def test_an_operator_sees_queue_wait_speed_batch_latency_ends_and_leases(
    live: LiveService, prometheus: Prometheus
) -> None:
    client = live.client()
    ask = {"prompt": "a red ball", "size": "48x32"}
    ids = [client.videos.create(**ask, extra_body={"num_frames": 5, "num_inference_steps": 4}).id for _ in range(4)]  # type: ignore[arg-type]
    long = client.videos.create(**ask, extra_body={"num_frames": 5, "num_inference_steps": 100}).id  # type: ignore[arg-type]
    client.post(f"/videos/{long}/cancel", cast_to=object)
    for video_id in ids:
        client.videos.poll(video_id, poll_interval_ms=50)

    def done() -> bool:
        return (prometheus.value('sora_video_jobs_finished_total{status="completed"}') or 0) >= len(ids)

    eventually(done, within_s=30)
    for query, least in {
        'sora_video_queue_jobs{status="completed"}': len(ids),
        'sora_video_queue_jobs{status="queued"}': 0,
        "sora_video_predicted_wait_seconds": 0,
        "sora_video_admission_seconds_count": len(ids),
        "sora_video_denoise_steps_total": 4 * len(ids),
        "sora_video_step_seconds_count": 4,
        "sum(sora_video_job_seconds_count)": len(ids),
        "sora_video_cached_tokens_total": 0,
        "sora_video_batch_tokens": 1,
        "sora_video_batch_fill_ratio": 0,
        'sum(sora_video_phase_seconds_count{phase="sample", tokens="<=32"})': 1,
        'sum(sora_video_phase_seconds_count{phase="decode"})': len(ids),
        'histogram_quantile(0.99, sum by (le) (sora_video_phase_seconds_bucket{phase="wait"}))': 0,
        'sora_video_failed_jobs{reason="cancelled"}': 1,
        'sora_video_leases{stage="sample"}': 0,
        'sora_video_leases{stage="decode"}': 0,
    }.items():
        found = prometheus.value(query)
        assert found is not None, query
        assert found >= least, query
