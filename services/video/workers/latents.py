"""Latents of jobs in storage: of those half sampled, for another sampler, and of finished ones, for a decoder."""

import logging

import safetensors
import safetensors.torch
from torch import Tensor

from services.video.files import work_folder
from services.video.job import Job
from sora_core import storage
from sora_core.errors import MissingObject, StorageError

log = logging.getLogger(__name__)

State = dict[str, Tensor]


class LatentsLost(Exception):
    """Saved latents are gone or damaged."""


def place(output: str, job: Job, step: int) -> str:
    """Where an attempt at a job stores its latents of a step."""
    return storage.join(
        work_folder(output, job.id), f"latent-{job.window}-attempt-{job.attempts}-step-{step}.safetensors"
    )


def write(uri: str, state: State) -> None:
    """Store tensors whole or not at all."""
    storage.write_bytes(uri, safetensors.torch.save(state))


def read(uri: str) -> State:
    """What `write` stored; LatentsLost when it is gone or damaged."""
    try:
        state: State = safetensors.torch.load(storage.read_bytes(uri))
    except (MissingObject, safetensors.SafetensorError) as error:
        raise LatentsLost(f"{uri}: the saved latents are gone or damaged ({error}); create the video again") from error
    return state


def discard(uri: str | None) -> None:
    """Remove one file that a later one has replaced; while storage is away it stays until the job is tidied."""
    if uri is None:
        return
    try:
        storage.delete(uri)
    except StorageError as error:
        log.warning("%s stays for now: %s", uri, error)
