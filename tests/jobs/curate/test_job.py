"""The whole job on a real bucket and a real cluster: done once, whatever happens on the way."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.curate.books.resume import Standing
from jobs.curate.config import CurateConfig
from jobs.curate.listing import Plan
from jobs.curate.pipeline import curate, missing_parts
from jobs.curate.rows import Source
from jobs.demo.cluster import LocalCluster
from jobs.demo.s3 import EmbeddedS3
from jobs.launch import load_config
from sora_core import shards, storage
from sora_core.errors import AccessDenied, CheckpointError, ConfigError, MissingObject, SoraError

from .stripes import write_footage

TIMEOUT_S = 200
ROOT = Path(__file__).parents[3]
Verdicts = dict[str, tuple[str, str | None]]


def start(cluster: LocalCluster, source: str, output: str, sources_per_part: int = 3) -> subprocess.Popen[str]:
    settings = [
        f"source={source}", f"output={output}", f"sources_per_part={sources_per_part}", "clips_per_batch=2",
        "num_encoders=1", "captioner=none", "models.text=", "models.indecency=",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.curate", "--set", *settings],
        cwd=ROOT, env=cluster.environment | {"RAY_ADDRESS": cluster.address}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(cluster: LocalCluster, source: str, output: str) -> str:
    """The job's own words; it must end well."""
    process = start(cluster, source, output)
    try:
        text, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        end(process)
        text, _ = process.communicate()
        pytest.fail(f"not done in {TIMEOUT_S} s:\n{text}")
    assert process.returncode == 0, text
    return text


def end(process: subprocess.Popen[str]) -> None:
    """kill -9 of the driver and what it started."""
    os.killpg(process.pid, signal.SIGKILL)


def stored(uri: str) -> dict[str, str]:
    return {item.uri.removeprefix(uri): item.etag for item in storage.list_objects(uri)}


def ledger_rows(output: str) -> list[dict[str, Any]]:
    """The ledger as any program reads it, less the clock's column."""
    rows: list[dict[str, Any]] = []
    for item in storage.list_objects(f"{output}/ledger"):
        with storage.open_input(item.uri) as file:
            rows += pq.read_table(file).drop_columns(["seconds"]).to_pylist()
    return sorted(rows, key=lambda row: (str(row["uri"]), str(row["clip_id"])))


def latent_rows(output: str) -> dict[str, shards.Row]:
    """Rows of every file of latents, named by the manifest or not."""
    tables = []
    for item in storage.list_objects(f"{output}/latents"):
        with storage.open_input(item.uri) as file:
            tables.append(pq.read_table(file))
    rows = [row for table in tables for row in shards.from_table(table)]
    assert len({row.clip_id for row in rows}) == len(rows)
    return {row.clip_id: row for row in rows}


@pytest.fixture(scope="module")
def bucket(s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Verdicts]:
    """The made footage in a bucket, and what it deserves."""
    folder = tmp_path_factory.mktemp("footage")
    verdicts = write_footage(folder)
    storage.upload_folder(folder, "s3://sora-tests/curate-in")
    return "s3://sora-tests/curate-in", verdicts


@pytest.fixture(scope="module")
def curated(ray_cluster: LocalCluster, bucket: tuple[str, Verdicts]) -> str:
    """Where one uninterrupted run left its output."""
    output = "s3://sora-tests/curate-whole"
    text = run(ray_cluster, bucket[0], output)
    assert re.search(r"examine (\d+)/\1 objects \| encode \1/\1 objects", text)
    assert f" shards under {output}" in text.splitlines()[-1]
    return output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_object_and_clip_has_its_row(curated: str, bucket: tuple[str, Verdicts]) -> None:
    source, verdicts = bucket
    rows = ledger_rows(curated)
    found = [
        (row["uri"].removeprefix(source + "/"), (row["status"], row["reason"])) for row in rows if not row["clip_id"]
    ]
    assert sorted(found) == sorted(verdicts.items())
    clips = [row for row in rows if row["clip_id"]]
    assert len({row["clip_id"] for row in clips}) == len(clips)
    assert {row["uri"] for row in clips if row["status"] == "kept"} == {
        f"{source}/{name}" for name, verdict in verdicts.items() if verdict[0] == "kept"
    }
    assert all(row["end_s"] > row["start_s"] or row["kind"] == "image" for row in clips)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_manifest_describes_what_lies_there(curated: str) -> None:
    manifest = shards.read_manifest(curated)
    rows = latent_rows(curated)
    kept = {row["clip_id"]: row for row in ledger_rows(curated) if row["clip_id"] and row["status"] == "kept"}
    assert rows.keys() == kept.keys()
    assert manifest.totals.clips == len(rows) == sum(shard.rows for shard in manifest.shards)
    assert manifest.totals.latent_values == sum(row.latent_mean.size for row in rows.values())
    assert len(manifest.whitening_std) == manifest.channels
    assert all(row.caption == kept[clip_id]["caption"] for clip_id, row in rows.items())
    assert storage.exists(f"{curated}/report.html")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_run_does_nothing(ray_cluster: LocalCluster, curated: str, bucket: tuple[str, Verdicts]) -> None:
    before = stored(curated)
    assert " 0 to do" in run(ray_cluster, bucket[0], curated)
    assert stored(curated) == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_to_the_same_rows(
    ray_cluster: LocalCluster, curated: str, bucket: tuple[str, Verdicts]
) -> None:
    output = "s3://sora-tests/curate-killed"
    process = start(ray_cluster, bucket[0], output)
    # At a random point of the work: the driver's own part comes first, the second is the first of an actor.
    parts, pause_s = random.randint(2, len(_parts(curated)) - 2), random.uniform(0, 0.3)
    _wait_for(lambda: len(_parts(output)) >= parts, process)
    time.sleep(pause_s)
    print(f"killed {pause_s:.2f} s after {parts} parts")  # shown when the test fails
    end(process)
    process.communicate()
    done = len(_parts(output))
    assert 2 <= done <= len(_parts(curated))
    run(ray_cluster, bucket[0], output)
    assert ledger_rows(output) == ledger_rows(curated)
    whole, resumed = latent_rows(curated), latent_rows(output)
    assert whole.keys() == resumed.keys()
    for clip_id, row in whole.items():
        np.testing.assert_array_equal(row.latent_mean, resumed[clip_id].latent_mean)
        np.testing.assert_array_equal(row.text, resumed[clip_id].text)
    assert shards.read_manifest(output).whitening_std == pytest.approx(shards.read_manifest(curated).whitening_std)


@pytest.fixture
def second_node(ray_cluster: LocalCluster) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """A node of its own processes, and a head that is busy until the node dies."""
    command = [
        str(Path(sys.executable).with_name("ray")), "start", f"--address={ray_cluster.address}", "--num-cpus=4",
        "--object-store-memory=100000000", "--block",
    ]  # fmt: skip
    node = subprocess.Popen(
        command,
        env=ray_cluster.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ray.init(address=ray_cluster.address, log_to_driver=False, logging_level="ERROR")
    head = ray.get_runtime_context().get_node_id()
    occupied = (
        ray.remote(num_cpus=ray_cluster.num_cpus)(Idler)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False))
        .remote()
    )
    ray.get(occupied.here.remote(), timeout=60)
    while sum(known["Alive"] for known in ray.nodes()) < 2:
        time.sleep(0.2)

    def kill() -> None:
        """End the node; the head has room from then on."""
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        ray.kill(occupied)

    yield node, kill
    kill()
    ray.shutdown()
    node.wait()


class Idler:
    """Holds cores."""

    def here(self) -> bool:
        return True


def _actors(node: subprocess.Popen[bytes], stage: str) -> list[psutil.Process]:
    """Processes of a stage's actors on a node."""
    family = psutil.Process(node.pid).children(recursive=True)
    return [process for process in family if f"({stage})" in " ".join(_titles(process))]


def _titles(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_actor_and_then_a_killed_node_change_no_row(
    ray_cluster: LocalCluster,
    second_node: tuple[subprocess.Popen[bytes], Callable[[], None]],
    curated: str,
    bucket: tuple[str, Verdicts],
) -> None:
    node, kill = second_node
    output = "s3://sora-tests/curate-nodes"
    process = start(ray_cluster, bucket[0], output, sources_per_part=1)
    try:
        _wait_for(lambda: len(_parts(output)) >= 3, process)
        [encoder] = _actors(node, "EncodeStage")
        encoder.kill()
        before = len(_parts(output))
        _wait_for(lambda: len(_parts(output)) > before, process)
        kill()
        assert process.poll() is None, "the job was over before the node was"
        text, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:
            end(process)
    assert process.returncode == 0, text
    assert_same_rows(output, curated)


def assert_same_rows(output: str, whole: str) -> None:
    """Byte for byte, but for clips encoded in other company: the autoencoder's bfloat16 rounds by the batch."""
    assert ledger_rows(output) == ledger_rows(whole)
    ours, theirs = latent_rows(output), latent_rows(whole)
    assert ours.keys() == theirs.keys()
    for clip_id, row in theirs.items():
        np.testing.assert_allclose(row.latent_mean, ours[clip_id].latent_mean, atol=0.05)


def _parts(output: str) -> list[str]:
    try:
        return [item.uri for item in storage.list_objects(f"{output}/ledger")]
    except MissingObject:
        return []


def test_an_interruption_changes_no_batch(config: CurateConfig) -> None:
    """What is redone is cut as if nothing had been done, so the autoencoder sees the same batches."""
    plan = Plan([Source(f"s3://b/{i}", "e", 1, f"k{i}", f"m{i}") for i in range(10)], [])
    small = config.model_copy(update={"sources_per_part": 4})
    whole = missing_parts(plan, Standing(), small)
    assert missing_parts(plan, Standing(done={source.key for source in whole[1]}), small) == [whole[0], whole[2]]
    assert missing_parts(plan, Standing(done={source.key for source in plan.sources}), small) == []


# --- wrong input: said before any work


def wrong(config: CurateConfig, kind: type[SoraError], match: str, **changes: str) -> None:
    with pytest.raises(kind, match=match):
        curate(config.model_copy(update=changes))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_places_that_can_not_be_used_are_named(
    config: CurateConfig, verdicts: Verdicts, s3_server: EmbeddedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(config, MissingObject, "no-such-bucket-here", source="s3://no-such-bucket-here/footage")
    wrong(config, MissingObject, "sora-tests/nothing", source="s3://sora-tests/nothing")
    wrong(config, MissingObject, "gone", source=f"{config.source}/gone")
    wrong(config, MissingObject, "captions.csv", output=f"{config.source}/captions.csv/out")
    wrong(config, CheckpointError, "no-such-vae", vae=f"{config.source}/no-such-vae")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    wrong(config, AccessDenied, "AWS_ACCESS_KEY_ID", source="s3://sora-tests/curate-in")
    assert not Path(config.output).exists() or list(Path(config.output).rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("thresholds.min_sharpnes=1", "min_sharpnes"),
        ("max_frames=16", "4k \\+ 1"),
        ("min_frames=21", "min_frames = 21"),
        ("vae_dtype=int8", "int8"),
        ("sorce=x", "sorce"),
        ("thresholds.max_luma=2", r"min_luma = 15 is above max_luma = 2"),
        ("thresholds.max_wobble=2", r"max_wobble'; the keys are min_sharpness"),
        ("captioner=endpoint", r"toml: captioner = \"endpoint\" and a"),
        ("max_likeness=2", "max_likeness"),
    ],
)
def test_settings_that_make_no_sense_are_named(setting: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load_config("curate", CurateConfig, ["--set", "source=a", "output=b", setting])
