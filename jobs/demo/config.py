"""What the demo lets a person choose."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import DirectoryPath, Field, PositiveFloat, model_validator

from jobs.launch import JobConfig
from sora_core.shapes import Compression, Patch, PixelShape
from sora_core.shipped import TINY

Port = Annotated[int, Field(ge=1, le=65535)]


class DemoConfig(JobConfig):
    """The whole chain on one machine, from footage to an mp4 made over HTTP."""

    folder: Path
    footage: DirectoryPath
    prompt: str
    size: str = Field(pattern=r"^\d+x\d+$")
    """WIDTHxHEIGHT of the video, in pixels."""
    num_frames: int
    seed: int
    api_port: Port
    dashboard_port: Port
    s3_port: Port
    keep: bool = False
    """Leave the servers up when the video is made."""
    stop: bool = False
    """End the servers that an earlier demo left up, and do nothing else."""
    init: str = TINY
    """The model that is tuned."""
    tuning_s: PositiveFloat
    """How long it is tuned: as many steps as this machine makes in this time."""
    world: tuple[str, ...] = ()
    curate: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    """More ``key=value`` settings of the three jobs, over their own laptop defaults."""
    compare: tuple[str, ...] = ()
    """Those of the evaluations of the model before it was tuned and after, on the same seeds."""
    older_machine: dict[str, float] = Field(default={})
    """Seconds that each phase takes on an older machine, told beside this one's."""

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        """A video that the API would refuse is refused now, not when everything else is done."""
        width, height = map(int, self.size.split("x"))
        Patch().grid(Compression().latent(PixelShape(self.num_frames, height, width), channels=1))
        return self
