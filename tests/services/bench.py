"""A sampler and a decoder around the tiny model that a test moves one round at a time."""

from typing import Any

import pytest

from services.video.config import ServiceConfig
from services.video.job import Job, NewJob, Stage, new_id
from services.video.ledger import Ledger
from services.video.workers.decoder import Decoder
from services.video.workers.sampler import Sampler
from sora_core.pipeline import Generation, Pipeline

from .live import eventually

WORDS_ALONE = {"film": None, "num_windows": 1, "remixed_from": None}


class Bench:
    """A sampler, a decoder, their ledger, and a count of what the pipeline stepped."""

    def __init__(self, config: ServiceConfig, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.pipeline = config, pipeline
        self.ledger = Ledger.open(config.ledger)
        self.sampler = self.new_sampler("sampler-1")
        self.decoder = Decoder(config, pipeline.frames, self.ledger, "decoder-1")
        self.packs: list[list[Generation]] = []
        self.faults: list[Exception] = []
        self._step = pipeline.step
        monkeypatch.setattr(pipeline, "step", self._watched)

    def new_sampler(self, worker: str) -> Sampler:
        return Sampler(self.config, self.pipeline, self.ledger, worker)

    def _watched(self, generations: list[Generation]) -> None:
        """The real step; a fault that was ordered comes first, as from a driver."""
        self.packs.append(list(generations))
        if self.faults and self.faults[0].args[1](generations):
            raise self.faults.pop(0)
        self._step(generations)

    def put(self, prompt: str = "a red ball", **changes: Any) -> Job:
        shape = {"num_frames": 5, "height": 32, "width": 48}
        num_steps = changes.pop("num_steps", 4)
        params: dict[str, Any] = {"num_inference_steps": num_steps}
        params |= {"prompt": prompt, "negative_prompt": "", "fps": 8.0, "seconds": "1", "guidance_scale": 1.0}
        new = NewJob(
            id=new_id(1.0),
            owner=changes.pop("owner", "ann"),
            model=changes.pop("model", "tiny"),
            tokens=changes.pop("tokens", 12),
            num_steps=num_steps,
            priority=0,
            queued_as=0.0,
            deadline_at=changes.pop("deadline_at", None),
            params=params | shape | {"seed": 1} | WORDS_ALONE | changes,
        )
        return self.ledger.create([new])[0]

    def get(self, job: Job) -> Job:
        found = self.ledger.get(job.id)
        assert found is not None
        return found

    def run_dry(self) -> None:
        """Rounds until nothing is left to step or to decode."""
        eventually(self._is_dry)

    def _is_dry(self) -> bool:
        while self.sampler.tick():
            pass
        while self.decoder.tick():
            pass
        return not [job for job in self.ledger.page("ann").jobs if job.is_open]

    def close(self) -> None:
        self.sampler.end()
        self.ledger.close()


def handed_over(bench: Bench) -> Job:
    """A job whose latents wait for a decoder."""
    job = bench.put(num_steps=1)
    while bench.sampler.tick():
        pass
    eventually(lambda: bench.ledger.waiting(stage=Stage.DECODE))
    return job
