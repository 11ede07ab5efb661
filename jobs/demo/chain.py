"""The demo's story: servers, footage, `ray job submit` twice, `serve deploy`, one request, pictures."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openai import OpenAI

from jobs.demo.client import make_video, sign_in_secret
from jobs.demo.cluster import LocalCluster
from jobs.demo.config import DemoConfig
from jobs.demo.processes import ProcessBook
from jobs.demo.s3 import EmbeddedS3
from jobs.demo.service import deploy
from jobs.demo.submit import measured, submit
from jobs.demo.talk import time_table, timed
from jobs.launch import require_free_port
from jobs.progress import counted, say
from sora_core import checkpoint, media, storage

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
    with timed(seconds, "servers", "start S3 and Ray"):
        s3.start()
        cluster.start()
        say(f"S3 {s3.credentials.endpoint}   dashboard {cluster.dashboard_url}   metrics {cluster.metrics_url}")
    with timed(seconds, "footage", f"upload {config.footage} and render the controlled world"):
        storage.create_bucket(BUCKET)
        upload_new(config.footage, f"{FOOTAGE}/real")
        submit(cluster, "world", [f"output={FOOTAGE}/world", *config.world])
    with timed(seconds, "curate", "ray job submit: jobs.curate"):
        submit(cluster, "curate", [f"source={FOOTAGE}", f"output={CURATED}", *config.curate])
        storage.download(f"{CURATED}/report.html", folder / "curation.html")
    steps = affordable(config, folder)
    with timed(seconds, "tune", f"ray job submit: jobs.train, {steps} steps from {config.init}"):
        tuning = [f"init={config.init}", f"steps={steps}", f"checkpoint_every={steps}", *config.train]
        submit(cluster, "train", [f"data={CURATED}", f"output={RUN}", *tuning])
        storage.download(f"{RUN}/training.png", folder / "training.png")
    newest = checkpoint.resolve(RUN)
    with timed(seconds, "compare", "before and after tuning, on the same seeds"):
        for when, model in (("before", config.init), ("after", newest)):
            output = f"{BUCKET}/{when}"
            submit(cluster, "evaluate", [f"checkpoint={model}", f"output={output}", *config.compare])
            for name in ("sheet.png", "sheet.webp", "evaluation.json"):
                storage.download(f"{output}/{name}", folder / when / name)
    with timed(seconds, "deploy", "serve deploy"):
        api_url = deploy(
            cluster, folder, port=config.api_port, checkpoint_uri=newest, output=VIDEOS, data_uri=CURATED, run_uri=RUN
        )
    with timed(seconds, "generate", f"POST {api_url}/videos: {config.prompt!r}"):
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
    _summary(about, folder, config.older_machine)
    if config.keep:  # what stands behind # is sent by no browser, and the page wipes it from the address
        with OpenAI(base_url=api_url, api_key=api_key) as client:
            say(f"\nThe studio, signed in once within 15 minutes: {studio_url}#/?once={sign_in_secret(client)}")
            say(f"afterwards {studio_url} asks for a key: {folder / 'api_key'} holds one")
    else:
        say(f"\nThe studio was at {studio_url}: make demo KEEP=1 leaves the servers up and signs in")


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
    for path in counted(missing, len(missing), "upload", "files"):
        storage.upload(path, storage.join(uri, path.name))


def _contact_sheet(folder: Path) -> None:
    frames = media.decode_clip(folder / "video.mp4")
    media.write_image(folder / "sheet.png", media.contact_sheet(frames))


def affordable(config: DemoConfig, folder: Path) -> int:
    """The steps of tuning that this machine makes in ``tuning_s``; those of the run that is there, where one is."""
    resolved = storage.join(RUN, "config.json")
    if storage.exists(resolved):
        return int(json.loads(storage.read_bytes(resolved))["steps"])
    places = [f"data={CURATED}", f"output={folder}", "steps=1000", "checkpoint_every=1000", f"init={config.init}"]
    told = measured("train.rate", [str(config.tuning_s), "--set", *places, *config.train])
    say(f"\na step of tuning takes {told['step_s']:.2f} s here, so {config.tuning_s:.0f} s are {told['steps']} steps")
    return int(told["steps"])


def _summary(about: Mapping[str, Any], folder: Path, older: Mapping[str, float]) -> None:
    lines = [f"{key:15} {value}" for key, value in about.items() if key not in ("api_key", "seconds")]
    left = ("video.mp4", "sheet.png", "before/sheet.png", "after/sheet.png", "training.png", "curation.html")
    files = [f"{'':15} {folder / name}" for name in left if (folder / name).exists()]
    say("\n".join(["", "== done", *lines, *files, "", time_table(about["seconds"], older)]))
