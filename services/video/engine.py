"""The model side of a sampler: jobs by id on their way from noise to frames, stepped together.

An error belongs to one job: what fails in a pack is tried again alone, and only the job that fails alone is failed.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sora_core.errors import InputError
from sora_core.pipeline import Generation, Pipeline, Request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ends without a video, as its owner reads it."""

    code: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        if isinstance(error, InputError):
            return cls("invalid_request", str(error))
        if is_out_of_memory(error):
            return cls("out_of_memory", "the sampler ran out of memory: ask for fewer frames or a smaller size")
        return cls("server_error", f"{type(error).__name__}: {error}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an accelerator or the host had no room for a tensor."""
    host = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return host or isinstance(error, torch.OutOfMemoryError | MemoryError)


class Engine:
    """Generations in flight. `step` raises what `is_out_of_memory`, so that a smaller batch can be tried."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._generations: dict[str, Generation] = {}

    def start(self, job_id: str, request: Request) -> None:
        """Bring a request to pure noise. InputError for what the model can't do."""
        self._generations[job_id] = self._pipeline.start(request)

    def step(self, job_ids: Sequence[str]) -> dict[str, Failure]:
        """Move these jobs on by one packed forward; the failures of those that couldn't go on, which are dropped."""
        before = {job_id: self._generations[job_id].step for job_id in job_ids}
        error = self._attempt(job_ids)
        if error is None:
            return {}
        if len(job_ids) == 1:
            self.drop(job_ids[0])
            return {job_ids[0]: Failure.of(error)}
        log.warning("a step of %d jobs failed, each is tried alone: %r", len(job_ids), error)
        failures: dict[str, Failure] = {}
        for job_id in job_ids:
            if self._generations[job_id].step == before[job_id]:
                failures |= self.step([job_id])
        return failures

    def _attempt(self, job_ids: Sequence[str]) -> Exception | None:
        try:
            self._pipeline.step([self._generations[job_id] for job_id in job_ids])
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return error
        return None

    def tokens(self, job_ids: Sequence[str]) -> int:
        """Tokens of the next packed forward of these jobs."""
        return sum(self._generations[job_id].num_tokens for job_id in job_ids)

    def done_part(self, job_id: str) -> float:
        """How much of its steps a job has done, 0 to 1."""
        generation = self._generations[job_id]
        return generation.step / generation.num_steps

    def is_done(self, job_id: str) -> bool:
        return self._generations[job_id].done

    def take(self, job_id: str) -> Generation:
        """Hand over a job that is done."""
        return self._generations.pop(job_id)

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        self._generations.pop(job_id, None)
