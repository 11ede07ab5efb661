"""The demo's story: servers, footage, `ray job submit` twice, `serve deploy`, one request, pictures."""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from openai import OpenAI
from tqdm import tqdm

from jobs.demo.client import make_video
from jobs.demo.cluster import LocalCluster
from jobs.demo.config import DemoConfig
from jobs.demo.processes import ProcessBook
from jobs.demo.s3 import EmbeddedS3
from jobs.launch import require_free_port
from sora_core import checkpoint, media, storage
from sora_core.errors import SoraError

ROOT = Path(__file__).parents[2]
BUCKET = "s3://sora"
FOOTAGE, CURATED, RUN, VIDEOS = (f"{BUCKET}/{name}" for name in ("footage", "curated", "run", "videos"))


def demo(config: DemoConfig) -> None:
    """Run the chain; a second run reuses what is done."""
    folder = config.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    book = ProcessBook(folder / "processes.json")
    if ended := book.end_all():
        say(f"ended {ended} servers of an earlier demo in {folder}")
    if config.stop:
        return
    for port in (config.api_port, config.dashboard_port, config.s3_port):
        require_free_port(port)
    s3 = EmbeddedS3(folder / "s3", port=config.s3_port, started=book.add)
    os.environ.update(s3.credentials.environment())
    api_key = _api_key(folder)
    environment = s3.credentials.environment() | {"SORA_API_KEYS": f"demo={api_key}"}
    cluster = LocalCluster(folder / "ray", environment, dashboard_port=config.dashboard_port, started=book.add)
    finished = False
    try:
        _chain(config, folder, s3, cluster, api_key)
        finished = True
    finally:
        if config.keep and finished:
            say("the servers stay up; end them with: make stop")
        else:
            cluster.stop()
            s3.stop()
            book.end_all()


def _chain(config: DemoConfig, folder: Path, s3: EmbeddedS3, cluster: LocalCluster, api_key: str) -> None:
    seconds: dict[str, float] = {}
    with _timed(seconds, "servers", "start S3 and Ray"):
        s3.start()
        cluster.start()
        say(f"S3 {s3.credentials.endpoint}   dashboard {cluster.dashboard_url}   metrics {cluster.metrics_url}")
    with _timed(seconds, "footage", f"upload {config.footage} and render the controlled world"):
        storage.create_bucket(BUCKET)
        upload_new(config.footage, f"{FOOTAGE}/real")
        submit(cluster, "world", [f"output={FOOTAGE}/world", *config.world])
    with _timed(seconds, "curate", "ray job submit: jobs.curate"):
        submit(cluster, "curate", [f"source={FOOTAGE}", f"output={CURATED}", *config.curate])
        storage.download(f"{CURATED}/report.html", folder / "curation.html")
    with _timed(seconds, "train", "ray job submit: jobs.train"):
        begin = [f"init={config.init}"] if config.init else []
        submit(cluster, "train", [f"data={CURATED}", f"output={RUN}", *begin, *config.train])
        storage.download(f"{RUN}/training.png", folder / "training.png")
    newest = checkpoint.latest(RUN)
    assert newest is not None, "training ended well, so it left a checkpoint"
    if config.init:
        with _timed(seconds, "compare", "before and after tuning, on the same seeds"):
            for when, model in (("before", config.init), ("after", newest)):
                output = f"{BUCKET}/{when}"
                submit(cluster, "evaluate", [f"checkpoint={model}", f"output={output}", *config.compare])
                storage.download(f"{output}/sheet.png", folder / f"{when}.png")
    with _timed(seconds, "deploy", "serve deploy"):
        api_url = deploy(cluster, config, folder, newest)
    with _timed(seconds, "generate", f"POST {api_url}/videos: {config.prompt!r}"):
        with OpenAI(base_url=api_url, api_key=api_key) as client:
            make_video(
                client, folder / "video.mp4", prompt=config.prompt,
                size=config.size, num_frames=config.num_frames, seed=config.seed,
            )  # fmt: skip
        _contact_sheet(folder)
    studio_url = f"{api_url.removesuffix('/v1')}/studio/"
    about: dict[str, object] = {
        "api_url": api_url, "api_key": api_key, "studio_url": studio_url,
        "s3_url": s3.credentials.endpoint, "data_uri": CURATED,
        "dashboard_url": cluster.dashboard_url, "checkpoint_uri": newest, "seconds": seconds,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about, indent=1))
    _summary(about, folder)
    if config.keep:  # the key stands behind #, which no browser sends, and the page wipes it from the address
        say(f"\nThe studio, signed in: {studio_url}#/?key={api_key}")


def say(text: str) -> None:
    """A line of the demo's own output, above any progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


@contextmanager
def _timed(seconds: dict[str, float], phase: str, title: str) -> Iterator[None]:
    say(f"\n== {title}")
    start = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - start, 1)
    say(f"== {phase}: {seconds[phase]} s")


def _api_key(folder: Path) -> str:
    """A random key, kept so that a second run's server takes it."""
    path = folder / "api_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"sk-{secrets.token_hex(16)}")
    return path.read_text()


def upload_new(folder: Path, uri: str) -> None:
    """Upload the files of a folder that aren't stored yet."""
    there = {storage.name(item.uri): item.size for item in storage.list_objects(uri)}
    missing = [path for path in sorted(folder.iterdir()) if there.get(path.name) != path.stat().st_size]
    for path in tqdm(missing, desc="upload", unit="file"):
        storage.upload(path, storage.join(uri, path.name))


def submit(cluster: LocalCluster, job: str, settings: list[str]) -> None:
    """``ray job submit`` with its log shown; SoraError when the job fails."""
    command = [
        _program("ray"), "job", "submit", "--address", cluster.dashboard_url, "--",
        sys.executable, "-m", f"jobs.{job}", "--config", str(ROOT / "jobs" / "configs" / f"{job}.toml"),
        "--set", *settings,
    ]  # fmt: skip
    finished = subprocess.run(command, env=cluster.environment, check=False)
    if finished.returncode:
        raise SoraError(
            f"jobs.{job} failed with exit code {finished.returncode}; its log is above and in the dashboard"
        )


def deploy(cluster: LocalCluster, config: DemoConfig, folder: Path, checkpoint_uri: str) -> str:
    """``serve deploy`` of the service's own file with this machine's places filled in; returns the API's URL."""
    settings = yaml.safe_load((ROOT / "services" / "video" / "serve.yaml").read_text())
    settings["http_options"] |= {"host": "127.0.0.1", "port": config.api_port}
    settings["applications"][0]["args"] |= {
        "checkpoint": checkpoint_uri, "output": VIDEOS, "ledger": f"sqlite:///{folder / 'ledger.sqlite'}",
        "webhooks": {"outbound": {"allowed_networks": ["127.0.0.0/8"]}},  # so that they can be tried on this machine
    }  # fmt: skip
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [_program("serve"), "deploy", "--address", cluster.dashboard_url, str(path)]
    subprocess.run(command, env=cluster.environment, check=True)
    url = f"http://127.0.0.1:{config.api_port}/v1"
    _wait_until_ready(cluster, url)
    return url


def _wait_until_ready(cluster: LocalCluster, url: str, timeout_s: float = 120.0) -> None:
    """Wait until every deployment answers. SoraError with Serve's own message when one can't start."""
    command = [_program("serve"), "status", "--address", cluster.dashboard_url]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        shown = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
        applications = (yaml.safe_load(shown.stdout) or {}).get("applications", {}) if shown.returncode == 0 else {}
        states = {application["status"] for application in applications.values()}
        if states == {"RUNNING"} and _answers(url):
            say(f"the API answers at {url}")
            return
        if "DEPLOY_FAILED" in states:
            raise SoraError(f"serve deploy failed:\n{shown.stdout}")
        time.sleep(0.5)
    raise SoraError(f"{url} didn't come up in {timeout_s:.0f} s; see the Serve page of {cluster.dashboard_url}")


def _answers(url: str) -> bool:
    """Whether the proxy takes requests: its deployments may be ready before it is."""
    try:
        with urllib.request.urlopen(url.replace("/v1", "/-/healthz"), timeout=5):
            return True
    except OSError:
        return False


def _contact_sheet(folder: Path) -> None:
    frames = media.decode_clip(folder / "video.mp4")
    media.write_image(folder / "sheet.png", media.contact_sheet(frames))


def _program(name: str) -> str:
    """A command of this Python's environment."""
    return str(Path(sys.executable).with_name(name))


def _summary(about: dict[str, object], folder: Path) -> None:
    lines = [f"{key:15} {value}" for key, value in about.items() if key != "api_key"]
    left = ("video.mp4", "sheet.png", "before.png", "after.png", "training.png", "curation.html")
    files = [f"{'':15} {folder / name}" for name in left if (folder / name).exists()]
    say("\n".join(["", "== done", *lines, *files]))
