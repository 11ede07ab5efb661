"""Real servers for the tests: one embedded S3 and one Ray cluster a session, started when first asked for."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Set before anything imports torch or ray: tests share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

# Shapes and types of every annotated tensor function are checked here, and cost nothing in production.
_TENSOR_ROOMS = [f"sora_core.{room}" for room in ("nn", "dit", "diffusion", "vae", "text", "training", "pipeline")]
install_import_hook(_TENSOR_ROOMS, "beartype.beartype")

from jobs.demo.cluster import LocalCluster
from jobs.demo.s3 import Credentials, EmbeddedS3
from sora_core import storage

ROOT = Path(__file__).parents[1]
_CLUSTER = pytest.StashKey[LocalCluster]()
_DEMO = "tests/test_demo.py"
_TYPES = "tests/test_types.py"  # one test of minutes, for which nobody should wait at the end


class ByFile(LoadFileScheduling):
    """A worker gets whole files, and one of them all files that need Ray: a cluster at rest takes a third of a core, so
    with two at a time everything would wait."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "Ray" if _needs_ray(file) else file


@lru_cache
def _needs_ray(file: str) -> bool:
    return file == _DEMO or "ray_cluster: LocalCluster" in (ROOT / file).read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without CUDA there are no tests of it. What needs Ray takes longest, so it goes first: two are done sooner."""
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            without = [item for item in items if item.get_closest_marker("gpu")]
            items[0].config.hook.pytest_deselected(items=without)
            items[:] = [item for item in items if item not in without]
    files = {item: item.path.relative_to(ROOT).as_posix() for item in items}
    items.sort(key=lambda item: (files[item] != _DEMO, not _needs_ray(files[item]), files[item] != _TYPES))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """With the last test that needs it, the cluster goes, and not only with the session."""
    yield
    cluster = item.session.stash.get(_CLUSTER, None)
    if cluster is not None and (nextitem is None or not _needs_ray(nextitem.path.relative_to(ROOT).as_posix())):
        cluster.stop()
        os.environ.pop("RAY_ADDRESS", None)


@pytest.fixture(scope="session")
def footage() -> Path:
    """The shipped clips and photographs: what a test may name."""
    return ROOT / "examples" / "footage"


@pytest.fixture(scope="session")
def collection(footage: Path) -> Path:
    """All real files there are: a large collection, which holds the shipped ones too, or the shipped ones alone.

    It lies beside some checkouts and only adds cases; FOOTAGE_COLLECTION names another place, or none when it's empty.
    """
    beside = os.environ.get("FOOTAGE_COLLECTION", str(ROOT.parent / "shared" / "footage"))
    return Path(beside) if beside and Path(beside).is_dir() else footage


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder as diffusers itself saves one: an autoencoder of Wan 2.1's layout at a tiny width, with random
    weights."""
    import torch
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    options = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
    model = AutoencoderKLWan(**options, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    path = tmp_path_factory.mktemp("published")
    model.save_pretrained(path / "vae")
    return path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[EmbeddedS3]:
    """A real S3 server; the standard AWS variables of this process point at it."""
    with tempfile.TemporaryDirectory(prefix="sora-s3-") as folder, EmbeddedS3(Path(folder)) as server:
        variables = server.credentials.environment()
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        storage.create_bucket("s3://sora-tests")
        yield server
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="session")
def s3_credentials(s3_server: EmbeddedS3) -> Credentials:
    """How to reach the test's S3 server from another process."""
    return s3_server.credentials


@pytest.fixture
def s3(s3_server: EmbeddedS3) -> str:
    """A fresh prefix in a bucket of the real S3 server."""
    return f"s3://sora-tests/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def ray_cluster(s3_server: EmbeddedS3, request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A running Ray head that knows the S3 server; RAY_ADDRESS of this process names it."""
    with (
        tempfile.TemporaryDirectory(prefix="sora-head-") as folder,
        LocalCluster(Path(folder), s3_server.credentials.environment()) as cluster,
    ):
        os.environ["RAY_ADDRESS"] = cluster.address
        request.session.stash[_CLUSTER] = cluster
        yield cluster
        os.environ.pop("RAY_ADDRESS", None)
