"""A long edit on workers that are killed: it goes on at its last finished window, and the film is the same."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.video.film import Film
from services.video.job import Job, Stage, Status
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
        site.process.send_signal(signal.SIGCONT)
        site.process.wait(60)


class Site:
    """A service, and a sampler with its decoder as a process that can be killed."""

    def __init__(self, service: LiveService, config_file: Path) -> None:
        self.service = service
        self._command = [sys.executable, "-m", "tests.services.worker_process", "sampling", str(config_file)]
        self.process = subprocess.Popen(self._command, cwd=ROOT)

    def stopped_amid(self, video_id: str, window: int) -> bool:
        """Whether the worker stands still now, some steps into this window."""
        self.process.send_signal(signal.SIGSTOP)
        job = self.job(video_id)
        amid = (
            job.window == window and job.stage is Stage.SAMPLE and job.saved is not None and job.lease_owner is not None
        )
        if not amid:
            self.process.send_signal(signal.SIGCONT)
        return amid

    def kill_and_replace(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = subprocess.Popen(self._command, cwd=ROOT)

    def job(self, video_id: str) -> Job:
        found = self.service.ledger.get(video_id)
        assert found is not None
        return found

    def film(self, video_id: str) -> bytes:
        """The finished file."""
        job: Any = eventually(lambda: self.job(video_id).status is Status.COMPLETED and self.job(video_id))
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
    killed = extend()
    eventually(lambda: site.stopped_amid(killed, window=len(extension.windows) + 1))
    site.kill_and_replace()
    assert site.film(killed) == film
    job = site.job(killed)
    assert (job.progress, job.params["num_frames"]) == (100, 49)
    assert job.attempts == 2 * job.num_windows + 1  # one for the sampling and one for the decoding of each window
