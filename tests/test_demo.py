"""The demo as a user runs it, once a session: `python -m jobs.demo`, then everything it promised is looked at."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from openai import OpenAI

from jobs.demo.s3 import free_port
from jobs.demo.submit import is_noise
from sora_core import media, shards, storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),  # OpenAI's own service ended; ours is here
]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Made:
    """A finished demo whose servers are still up."""

    folder: Path
    settings: list[str]
    run: dict[str, Any]
    metrics: "Scraper"


class Scraper(threading.Thread):
    """Looks at the cluster's Prometheus endpoint, whose URL the demo prints, and remembers every family it saw."""

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self.log = log
        self.seen: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(3):
            url = re.search(r"metrics (http://\S+)", self.log.read_text())
            if url is None:
                continue
            try:
                text = urllib.request.urlopen(url[1], timeout=5).read().decode()
            except OSError:
                continue
            self.seen |= set(re.findall(r"^ray_(sora_\w+)\{", text, re.MULTILINE))

    def wait_for(self, families: set[str], timeout_s: float = 40) -> set[str]:
        """The families that were not seen in time."""
        deadline = time.monotonic() + timeout_s
        while families - self.seen and time.monotonic() < deadline:
            time.sleep(0.5)
        return families - self.seen


def run_demo(settings: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.demo", "--set", *settings]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)


def processes_of(*marks: str) -> list[str]:
    """Command lines of the living processes on which, or in whose environment, one of these stands."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                about = (entry / "cmdline").read_bytes() + (entry / "cwd").readlink().as_posix().encode()
                about += (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(mark.encode() in about for mark in marks):
                found.append(about.decode(errors="replace"))
    return found


def settings_for(folder: Path) -> list[str]:
    ports = {name: free_port() for name in ("api_port", "dashboard_port", "s3_port")}
    return [f"folder={folder}", *(f"{name}={port}" for name, port in ports.items())]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("demo")
    settings = settings_for(folder)
    log = folder / "log.txt"
    log.touch()
    scraper = Scraper(log)
    scraper.start()
    command = [sys.executable, "-m", "jobs.demo", "--set", *settings, "keep=true"]
    with log.open("w") as output:
        finished = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, check=False, timeout=1200)
    assert finished.returncode == 0, log.read_text()[-4000:]
    yield Made(folder, settings, json.loads((folder / "run.json").read_text()), scraper)
    scraper.over.set()
    scraper.join()
    run_demo([*settings, "stop=true"])
    assert processes_of(str(folder)) == []


@pytest.fixture
def environment(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process talks to the demo's S3."""
    key = json.loads((made.folder / "s3" / "s3.json").read_text())["identities"][0]["credentials"][0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.run["s3_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["accessKey"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["secretKey"])


def test_it_leaves_what_it_promises(made: Made) -> None:
    for name in ("video.mp4", "sheet.png", "training.png", "curation.html"):
        assert (made.folder / name).stat().st_size > 1000, name
    keys = {"api_url", "api_key", "studio_url", "s3_url", "dashboard_url", "data_uri", "checkpoint_uri", "seconds"}
    assert set(made.run) == keys
    assert made.run["api_url"].endswith("/v1")


def test_the_video_has_the_asked_size_and_length(made: Made) -> None:
    frames = media.decode_clip(made.folder / "video.mp4")
    assert frames.shape == (17, 64, 64, 3)
    assert frames.std() > 5


@pytest.mark.usefixtures("environment")
def test_every_source_of_the_bucket_is_accounted_for(made: Made) -> None:
    ledger = storage.join(made.run["data_uri"], "ledger")
    rows = [
        row for item in storage.list_objects(ledger) for row in pq.read_table(storage.open_input(item.uri)).to_pylist()
    ]
    accounted = {row["uri"] for row in rows}
    stored = {item.uri for item in storage.list_objects("s3://sora/footage")}
    assert stored <= accounted
    assert {row["status"] for row in rows} <= {"kept", "dropped", "failed"}
    kept = [row for row in rows if row["status"] == "kept" and row["clip_id"]]
    assert shards.read_manifest(made.run["data_uri"]).totals.clips == len(kept)


def test_tuning_keeps_what_the_model_knew(made: Made) -> None:
    # Twelve prompts only: what a minute of tuning does to directions is within their noise.
    for when in ("before", "after"):
        told = json.loads((made.folder / when / "evaluation.json").read_text())
        for attribute in ("colour", "background", *(["direction"] if when == "before" else [])):
            found = told["attributes"][attribute]
            assert found["value"] > 0.75, (when, attribute, found)
            assert found["value"] > found["majority"] + 0.2, (when, attribute, found)
        assert (made.folder / when / "sheet.png").stat().st_size > 1000


def test_its_output_says_what_a_person_can_act_on(made: Made) -> None:
    log = (made.folder / "log.txt").read_text()
    assert re.search(r"a step of tuning takes [\d.]+ s here, so \d+ s are \d+ steps", log)
    assert re.search(r"^together +\d+ s", log, re.MULTILINE)
    assert [line for line in log.splitlines() if is_noise(line)] == []


def test_metrics_of_all_three_doors_appear_at_rays_endpoint(made: Made) -> None:
    with OpenAI(base_url=made.run["api_url"], api_key=made.run["api_key"]) as client:
        client.videos.list()
    curation = {"sora_curate_sources_total", "sora_curate_clips_total"}
    training = {"sora_train_loss", "sora_train_step", "sora_train_tokens_per_second", "sora_train_step_seconds"}
    serving = {"sora_video_requests_total", "sora_video_denoise_steps_total", "sora_video_jobs_finished_total"}
    assert made.metrics.wait_for(curation | training | serving) == set()


def test_an_interrupted_demo_leaves_no_process(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    command = [sys.executable, "-m", "jobs.demo", "--set", *settings]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ours = f"/tmp/sora-ray-{running.pid}-"
    deadline = time.monotonic() + 90
    while not any("jobs.world" in about for about in processes_of(ours)):  # a job is at work on the cluster
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(60) == 130
    time.sleep(1)  # the killed ones are reaped by init
    assert processes_of(str(tmp_path), ours) == []
