"""Small footage, a small config, and the job in one process."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.curate import pipeline
from jobs.curate.config import CurateConfig
from jobs.curate.rows import Source, part_to_item
from jobs.curate.stages import actors
from jobs.curate.stages.actors import Stage
from jobs.launch import load_config
from sora_core import telemetry
from sora_core.media import Isolated
from sora_core.telemetry import Metric

from .stripes import write_footage


def in_folder(folder: Path) -> CurateConfig:
    """The laptop default, from one folder to another; only people's words count, no model looks."""
    places = [f"source={folder / 'in'}", f"output={folder / 'out'}", "captioner=none"]
    no_models = ["models.text=", "models.indecency="]
    return load_config("curate", CurateConfig, ["--set", *places, *no_models])


@pytest.fixture
def config(tmp_path: Path) -> CurateConfig:
    """`in_folder` of the test's own."""
    return in_folder(tmp_path)


@pytest.fixture
def verdicts(tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    """The made footage in the config's source, and what it deserves."""
    (tmp_path / "in").mkdir()
    return write_footage(tmp_path / "in")


class Tally:
    """A metrics backend that counts: how many observations of each stage, how many frames decoded."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        if metric is telemetry.CURATE_STAGE_SECONDS:
            self.counts[tags["stage"]] += 1
        elif metric is telemetry.CURATE_DECODED_FRAMES:
            self.counts["frames"] += int(value)
        elif metric is telemetry.CURATE_CAPTION_TOKENS:
            self.counts[tags["kind"]] += int(value)


class Nobody:
    """A board that nobody looks at."""

    @property
    def add(self) -> "Nobody":
        return self

    def remote(self, *_: object) -> None:
        """Not a cluster."""


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    """One process for all decoding in this file."""
    process = Isolated()
    yield process
    process.close()


@contextmanager
def counted(isolated: Isolated) -> Iterator[Tally]:
    """The job in this process: the real stages one after another, without a cluster."""

    def process(work: Sequence[Sequence[Source]], kinds: Sequence[type[Stage]], config: CurateConfig) -> None:
        stages = [kind(config, Nobody()) for kind in kinds]
        for part in work:
            table = pa.Table.from_pylist([part_to_item(part)])
            for stage in stages:
                table = stage(table)

    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("RAY_ADDRESS", raising=False)
        patched.setattr(pipeline, "process", process)
        patched.setattr(actors, "Isolated", lambda _limits: isolated)
        patched.setattr(pipeline, "ray_session", lambda num_cpus: nullcontext())
        patched.setattr(actors, "bind_ray_metrics", lambda: None)
        counting = Tally()
        telemetry.bind(counting)
        yield counting
        telemetry.bind(None)


@pytest.fixture
def tally(isolated: Isolated) -> Iterator[Tally]:
    """What the job counts, in this process."""
    with counted(isolated) as counting:
        yield counting
