"""A real run under Ray as a person and Prometheus see it."""

import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.demo.cluster import LocalCluster
from jobs.demo.s3 import free_port
from jobs.train.record import read_lines
from sora_core import checkpoint, storage, telemetry
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder

PROMETHEUS = shutil.which("prometheus")


@contextmanager
def prometheus(target: str, folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes one target every second; its URL."""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: ray, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    port = free_port()
    command = [
        str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The series that a PromQL query finds."""
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on this machine (apt install prometheus)")
def test_a_run_is_scraped_and_leaves_cards_samples_and_event_files(
    ray_cluster: LocalCluster, s3: str, curated: Any, tmp_path: Path
) -> None:
    data, output = storage.join(s3, "data"), storage.join(s3, "run")
    curated(data, encoders=(VideoAutoencoder.load(), TextEncoder.load()))
    settings = [
        f"data={data}", f"output={output}", "steps=40", "checkpoint_every=20", "pack_tokens=64", "samples.count=1",
        "samples.every=20", "samples.num_inference_steps=2", "validation.every=10", "model.num_layers=2",
        "model.num_attention_heads=2", "model.attention_head_dim=8", "model.ffn_dim=32", "num_workers=2",
        "log_every_s=0.5",
    ]  # fmt: skip
    target = ray_cluster.metrics_url.removeprefix("http://").removesuffix("/metrics")
    with prometheus(target, tmp_path) as url:
        run = subprocess.run(
            [sys.executable, "-m", "jobs.train", "--set", *settings],
            env=ray_cluster.environment | {"RAY_ADDRESS": ray_cluster.address},
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        time.sleep(2)
        wanted = [name for name in telemetry.catalogue() if name.startswith("sora_train_")]
        found = {name: ask(url, f"last_over_time(ray_{name}[10m])") for name in wanted}
    silent = {name for name, series in found.items() if not series}
    assert silent <= {"sora_train_skipped_clips"}, "nothing was skipped, all else was told"
    lines = read_lines(output)
    losses = {float(str(line["loss"])) for line in lines.values()}
    scraped = float(found["sora_train_loss"][0]["value"][1])
    assert min(abs(scraped - loss) for loss in losses) < 1e-6
    assert {series["metric"]["sigma_bin"] for series in found["sora_train_val_loss"]} == {
        "0.10", "0.30", "0.50", "0.70", "0.90",
    }  # fmt: skip

    told = next(line for line in (run.stdout + run.stderr).splitlines() if "step 40/40" in line)
    assert all(word in told for word in ("loss", "tokens/s", "mfu", "data wait", "done")), told
    assert storage.exists(storage.join(output, "training.png"))
    assert list(storage.list_objects(storage.join(output, "tensorboard")))
    for step in (20, 40):
        folder = checkpoint.step_uri(output, step)
        assert "](samples/00.mp4)" in storage.read_bytes(storage.join(folder, "README.md")).decode()
        assert storage.read_bytes(storage.join(folder, "samples/sheet.png")).startswith(b"\x89PNG")
        assert storage.head(storage.join(folder, "samples/00.mp4")).size > 500
