"""The model side of a sampler: jobs by id on their way from noise to frames, stepped together.

An error belongs to one job: what fails in a pack is tried again alone, and only the job that fails alone is failed.
"""

import logging
from collections.abc import Sequence

from services.video.workers.device import Device
from services.video.workers.failures import is_out_of_memory
from services.video.workers.latents import State
from sora_core import telemetry
from sora_core.pipeline import Generation, Pipeline, Request

log = logging.getLogger(__name__)


class Engine:
    """Generations in flight. `step` raises what `is_out_of_memory`, so that a smaller batch can be tried."""

    def __init__(self, pipeline: Pipeline, device: Device) -> None:
        self._pipeline = pipeline
        self._device = device
        self._generations: dict[str, Generation] = {}

    def start(self, job_id: str, request: Request, state: State | None = None) -> None:
        """Bring a request to pure noise, or to where it was saved. InputError for what the model can't do."""
        generation = self._pipeline.start(request)
        if state is not None:
            generation.restore(state)
        self._generations[job_id] = generation

    def step(self, job_ids: Sequence[str]) -> dict[str, Exception]:
        """Move these jobs on by one packed forward; the errors of those that couldn't go on.

        DeviceLost when it is not the jobs that fail but what they run on.
        """
        before = {job_id: self._generations[job_id].step for job_id in job_ids}
        error = self._attempt(job_ids)
        if error is None:
            return {}
        self._device.check(error)
        if len(job_ids) == 1:
            return {job_ids[0]: error}
        log.warning("a step of %d jobs failed, each is tried alone: %r", len(job_ids), error)
        failures: dict[str, Exception] = {}
        for job_id in job_ids:
            if self._generations[job_id].step == before[job_id]:
                failures |= self.step([job_id])
        return failures

    def _attempt(self, job_ids: Sequence[str]) -> Exception | None:
        generations = [self._generations[job_id] for job_id in job_ids]
        before = sum(generation.tokens_left_out for generation in generations)
        try:
            with self._device.step():
                self._pipeline.step(generations)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return error
        telemetry.VIDEO_CACHED_TOKENS.inc(sum(generation.tokens_left_out for generation in generations) - before)
        return None

    def tokens(self, job_ids: Sequence[str]) -> int:
        """Tokens of the next packed forward of these jobs."""
        return sum(self._generations[job_id].num_tokens for job_id in job_ids)

    def generation(self, job_id: str) -> Generation:
        """How far a job is."""
        return self._generations[job_id]

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        self._generations.pop(job_id, None)
