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


def work_folder(output: str, job_id: str) -> str:
    """Where what is needed until a job is closed is stored: its clips, its latents, its finished windows."""
    return storage.join(job_folder(output, job_id), "work")


def reference_file(output: str, job_id: str, index: int) -> str:
    """Where a job's own copy of a character's clip lies."""
    return storage.join(work_folder(output, job_id), f"reference-{index}.mkv")


def character_folder(output: str, character_id: str) -> str:
    """Where everything of a character is stored."""
    return storage.join(output, "characters", character_id)


def character_file(output: str, character_id: str) -> str:
    """Where the clip lies that shows a character."""
    return storage.join(character_folder(output, character_id), "clip.mkv")


def clip_file(output: str, job_id: str, index: int) -> str:
    """Where a clip lies that a job's edit works on."""
    return storage.join(work_folder(output, job_id), f"clip-{index}.mkv")


def sound_file(output: str, job_id: str) -> str:
    """Where the sound of an edit's film lies, as numpy keeps samples."""
    return storage.join(work_folder(output, job_id), "sound.npy")


def source_folder(output: str, job_id: str) -> str:
    """Where the files lie, as they were sent, whose content credentials become part of the job's own."""
    return storage.join(work_folder(output, job_id), "sources")


def window_file(output: str, job: Job) -> str:
    """Where an attempt at a job stores the frames of the window that it finished."""
    return storage.join(work_folder(output, job.id), f"window-{job.window}-attempt-{job.attempts}.mkv")


def attempt_folder(output: str, job: Job) -> str:
    """Where one attempt at a job stores its files: another than every other attempt, so a late one disturbs nothing."""
    return storage.join(job_folder(output, job.id), f"attempt-{job.attempts}")
