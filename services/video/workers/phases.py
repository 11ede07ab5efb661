"""How long the parts of a job's life take, by the size of the job."""

from services.video.job import Job
from sora_core import telemetry


def size_class(tokens: int) -> str:
    """The power of two that a job's tokens stay under: few values, whatever clients ask for."""
    return f"<={1 << max(0, tokens - 1).bit_length()}"


def observe_phase(phase: str, job: Job, seconds: float) -> None:
    """Count one ``phase`` of a job: ``wait``, ``sample`` or ``decode``."""
    telemetry.VIDEO_PHASE_SECONDS.observe(max(0.0, seconds), {"phase": phase, "tokens": size_class(job.tokens)})
