"""Latents of jobs in storage: of those half sampled, for another sampler, and of finished ones, for a decoder."""

import json
import logging
from collections.abc import Mapping

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


def write(uri: str, state: State, origin: dict[str, str]) -> None:
    """Store tensors whole or not at all, with what they are tied to (`Pipeline.origin`)."""
    storage.write_bytes(uri, safetensors.torch.save(state, origin))


def read(uri: str, origin: Mapping[str, str]) -> State:
    """What `write` stored; LatentsLost when it is gone, damaged, or tied to something else than this."""
    try:
        data = storage.read_bytes(uri)
        state: State = safetensors.torch.load(data)
    except (MissingObject, safetensors.SafetensorError) as error:
        raise LatentsLost(f"{uri}: the saved latents are gone or damaged ({error})") from error
    stored = _origin(data)
    for what, ours in origin.items():
        if stored.get(what) != ours:
            raise LatentsLost(f"{uri}: its {what} are {stored.get(what)}, those here {ours}")
    return state


def _origin(data: bytes) -> dict[str, str]:
    """The strings in the header, which is JSON after eight bytes that say how long it is."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def discard(uri: str | None) -> None:
    """Remove one file that a later one has replaced; while storage is away it stays until the job is tidied."""
    if uri is None:
        return
    try:
        storage.delete(uri)
    except StorageError as error:
        log.warning("%s stays for now: %s", uri, error)
