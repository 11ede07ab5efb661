"""Where a job's files are stored, and of what kind they are."""

from services.video.job import Job, Kind
from sora_core import storage

CONTENT_TYPES = {
    "video": "video/mp4",
    "thumbnail": "image/webp",
    "spritesheet": "image/jpeg",
    "image": "image/png",
}
FILE_NAMES = {
    "video": "video.mp4",
    "thumbnail": "thumbnail.webp",
    "spritesheet": "spritesheet.jpg",
    "image": "image.png",
}
VARIANTS = {Kind.VIDEO: ("video", "thumbnail", "spritesheet"), Kind.IMAGE: ("image",)}
"""The files that a job of each kind ends with."""


def job_folder(output: str, job_id: str) -> str:
    """Where everything of one job is stored."""
    return storage.join(output, "videos", job_id)


def input_file(output: str, job_id: str) -> str:
    """Where the picture lies that a job starts from."""
    return storage.join(job_folder(output, job_id), "input")


def latents_folder(output: str, job_id: str) -> str:
    """Where the latents of an unfinished job are stored."""
    return storage.join(job_folder(output, job_id), "latents")


def attempt_folder(output: str, job: Job) -> str:
    """Where one attempt at a job stores its files: another than every other attempt, so a late one disturbs nothing."""
    return storage.join(job_folder(output, job.id), f"attempt-{job.attempts}")
