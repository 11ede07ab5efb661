"""What a person chooses about a calibration."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from jobs.launch import JobConfig


class CalibrateConfig(JobConfig):
    """Choose the feature cache of a checkpoint by what it does to the model's own videos."""

    checkpoint: str
    """A run, or one of its checkpoints."""
    prompts: tuple[str, ...] = Field(min_length=1)
    """A video each, with another seed each; take prompts like those that will be asked."""
    thresholds: tuple[PositiveFloat, ...] = Field(min_length=1)
    """Relative change of the first block's part below which a step is left out."""
    size: Annotated[str, Field(pattern=r"^\d+x\d+$")]
    """WIDTHxHEIGHT."""
    num_frames: PositiveInt
    num_inference_steps: PositiveInt
    """As many as will be served: fewer steps lie further apart."""
    guidance_scale: PositiveFloat | None = None
    """The model's own when left out."""
    seed: int = Field(ge=0)
