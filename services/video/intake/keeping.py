"""A request as its jobs will hold it, and the clips of these jobs in the storage."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from services.video.files import clip_file, job_folder, reference_file, sound_file
from services.video.film import Film
from services.video.intake.sizing import Sizing
from services.video.intake.sources import Part
from services.video.job import NewJob
from services.video.provenance.sources import store_sources
from sora_core import storage
from sora_core.errors import StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """A request as its jobs will hold it, but for the places of its clips; ``remixed_from`` is the video's id.

    ``cast`` are the clips of its characters, ``sources`` those of the files as they came that carry credentials.
    """

    sizing: Sizing
    film: Film | None
    sound: Int16[np.ndarray, "n 2"] | None
    parts: Sequence[Part]
    cast: Sequence[Part]
    remixed_from: str | None
    sources: Sequence[Path] = ()


def store(output: str, job: NewJob, decided: Decided) -> None:
    """Keep what a job works on beside it."""
    for index, part in enumerate(decided.parts):
        storage.upload(part.path, clip_file(output, job.id, index))
    for index, clip in enumerate(decided.cast):
        storage.upload(clip.path, reference_file(output, job.id, index))
    store_sources(output, job.id, decided.sources)
    if decided.sound is not None:
        samples = io.BytesIO()
        np.save(samples, decided.sound)
        storage.write_bytes(sound_file(output, job.id), samples.getvalue())


def discard(output: str, jobs: Sequence[NewJob], decided: Decided) -> None:
    """Remove the clips of jobs that did not come to be; while storage is away they stay for the sweeper."""
    if not (decided.parts or decided.cast or decided.sources):
        return
    for job in jobs:
        try:
            storage.delete_prefix(job_folder(output, job.id))
        except StorageError as error:
            log.warning("clips of %s stay for now: %s", job.id, error)
