"""What a person chooses about a rendered world."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from jobs.launch import JobConfig
from sora_core.shapes import Compression
from sora_core.world.scene import Mix


class WorldConfig(JobConfig):
    """Render clips of the controlled world and their captions as footage."""

    output: str
    """Folder or bucket prefix for the clips and ``captions.csv``."""
    num_clips: PositiveInt
    seed: int = Field(ge=0)
    sizes: dict[str, float]
    """Relative weight of each WIDTHxHEIGHT."""
    frames: dict[int, float]
    """Relative weight of each number of frames, 4k + 1; 1 is a photograph."""
    counts: dict[int, float]
    """Relative weight of each number of objects."""
    kinds: dict[str, float] = Field(default={"plain": 1.0})
    """Relative weight of each kind of scene."""
    wording: str = "first"
    """Which wordings of the captions are used: "first", "trained" or "held out"."""
    latents: bool = False
    """Write a curated folder, ready to train on, in place of files."""
    val_every: PositiveInt = 50
    """With ``latents``: one clip in so many is for validation."""
    fps: PositiveFloat
    crf: int = Field(ge=0, le=51)
    num_processes: PositiveInt

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        for frames in self.frames:
            Compression().latent_frames(frames)
        assert self.mix
        return self

    @property
    def mix(self) -> Mix:
        return Mix.parse(self.sizes, self.frames, self.counts, self.kinds, self.wording)
