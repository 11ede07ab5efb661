"""What the demo lets a person choose."""

from pathlib import Path

from jobs.launch import JobConfig


class DemoConfig(JobConfig):
    """The whole chain on one machine, from footage to an mp4 made over HTTP."""

    folder: Path
    footage: Path
    prompt: str
    size: str
    num_frames: int
    seed: int
    api_port: int
    dashboard_port: int
    s3_port: int
    keep: bool = False
    """Leave the servers up when the video is made."""
    stop: bool = False
    """End the servers that an earlier demo left up, and do nothing else."""
    world: tuple[str, ...] = ()
    curate: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    """More ``key=value`` settings of the three jobs, over their own laptop defaults."""
