"""A ledger on both databases, each a real one, with a clock that the test turns."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.video.ledger import Ledger
from sora_core import media
from sora_core.edits.spec import LEARNED_FROM
from sora_core.pipeline import Pipeline

from .bench import Bench
from .editing import moving, tone
from .live import LiveService, config_in
from .postgres import PostgresServer, free_port, postgres_binaries
from .receiver import Receiver
from .tiny_model import FPS, save_tiny_checkpoint


class Clock:
    """Unix time that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed")
    with tempfile.TemporaryDirectory(prefix="sora-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(binaries, Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger; on PostgreSQL a schema of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_schema()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger.open(ledger_url, clock)
    yield opened
    opened.close()


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a run with one whole checkpoint of random weights."""
    return save_tiny_checkpoint(str(tmp_path_factory.mktemp("run") / "tiny"))


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_run: str) -> Pipeline:
    return Pipeline.load(tiny_run, "cpu")


@pytest.fixture
def idle(tmp_path: Path, tiny_run: str, tiny_pipeline: Pipeline, unused_port: int) -> Iterator[LiveService]:
    """A service whose sampler stands still unless the test moves it."""
    with LiveService(config_in(tmp_path, tiny_run), tiny_pipeline, unused_port) as service:
        service.publish()
        yield service


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[LiveService]:
    """A service without a sampler at work, shared by tests that don't care what else is in its ledger."""
    with LiveService(config_in(tmp_path_factory.mktemp("door"), tiny_run), tiny_pipeline, free_port()) as service:
        service.publish()
        yield service


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline) -> Iterator[LiveService]:
    """A service at work."""
    folder = tmp_path_factory.mktemp("live")
    with LiveService(config_in(folder, tiny_run), tiny_pipeline, free_port()) as service:
        service.publish()
        service.work()
        yield service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose model has learned every kind of given latents."""
    given = tuple(sorted(frozenset[str]().union(*LEARNED_FROM.values())))
    return save_tiny_checkpoint(str(tmp_path_factory.mktemp("learned") / "tiny"), max_tokens=30, given=given)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes source files: frames at a rate, with sound or without."""
    folder = tmp_path_factory.mktemp("films")

    def write(frames: np.ndarray | None = None, fps: float = FPS, *, sound: bool = False) -> Path:
        shown = moving() if frames is None else frames
        path = folder / f"{len(list(folder.iterdir()))}.mp4"
        media.encode_mp4(path, shown, fps, crf=4, sound=tone(len(shown) / fps) if sound else None)
        return path

    return write


@pytest.fixture
def make(tmp_path: Path, tiny_run: str, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a bench with sampler settings of the test's choice."""
    benches: list[Bench] = []

    def build(**settings: Any) -> Bench:
        benches.append(Bench(config_in(tmp_path, tiny_run, sampler=settings), tiny_pipeline, monkeypatch))
        benches[-1].sampler.begin()
        return benches[-1]

    yield build
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make: Any) -> Bench:
    built: Bench = make()
    return built
