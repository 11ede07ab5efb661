"""A long edit on workers that are killed: it goes on at its last finished window, and the film is the same."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.video.film import Film
from services.video.job import Job, Status
from sora_core.pipeline import Pipeline

from .editing import ask, moving
from .live import LiveService, config_in, eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path, learned: str, unused_port: int) -> Iterator["Site"]:
    config = config_in(tmp_path, learned, sampler={"lease_s": 2.0, "save_every_s": 0.0})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    with LiveService(config, Pipeline.load(learned, "cpu"), unused_port) as service:
        service.publish()
        site = Site(service, tmp_path / "config.json")
        yield site
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(60)


class Site:
    """A service, and a sampler with its decoder as a process that can be killed."""

    def __init__(self, service: LiveService, config_file: Path) -> None:
        self.service = service
        self._command = [sys.executable, "-m", "tests.services.worker_process", str(config_file)]
        self._order = config_file.with_name("die-in-window")
        self.process = subprocess.Popen(self._command, cwd=ROOT)

    def kill_in(self, window: int) -> None:
        """The worker dies some steps into this window of the next job."""
        self._order.write_text(str(window))

    def replace(self) -> None:
        """Wait for the death, and start another."""
        assert self.process.wait(60) == -signal.SIGKILL
        self.process = subprocess.Popen(self._command, cwd=ROOT)

    def job(self, video_id: str) -> Job:
        found = self.service.ledger.get(video_id)
        assert found is not None
        return found

    def film(self, video_id: str) -> bytes:
        """The finished file."""

        def completed() -> Job | None:
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}"
            job = self.job(video_id)
            return job if job.status is Status.COMPLETED else None

        job: Any = eventually(completed, within_s=120)
        return Path(job.result["video"]["uri"]).read_bytes()


@pytest.mark.slow
def test_a_long_extension_at_twice_the_rate_survives_kill_9_and_is_the_same_film(
    site: Site,
    films: Callable[..., Path],
) -> None:
    source = films(moving()).read_bytes()

    def extend() -> str:
        steps = {"num_inference_steps": 5, "seed": 3, "enable_frame_interpolation": True}
        return ask(site.service, "/extensions", {"video": source}, num_frames=16, **steps)

    undisturbed = extend()
    film = site.film(undisturbed)
    extension, interpolation = Film.from_json(site.job(undisturbed).params["film"]).stages()
    assert min(len(extension.windows), len(interpolation.windows)) > 1
    site.kill_in(len(extension.windows) + 1)
    killed = extend()
    site.replace()
    assert site.film(killed) == film
    job = site.job(killed)
    assert (job.progress, job.params["num_frames"]) == (100, 49)
    assert job.attempts == 2 * job.num_windows + 1  # one for the sampling and one for the decoding of each window
