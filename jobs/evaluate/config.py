"""What a person chooses about an evaluation."""

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from jobs.launch import JobConfig
from sora_core.world.scene import VOCABULARY, Mix

Share = Annotated[float, Field(ge=0, le=1)]


class EvaluateConfig(JobConfig):
    """Measure how far the videos of a checkpoint show what their prompts say."""

    checkpoint: str
    """A run, or one of its checkpoints."""
    output: str
    """Folder or bucket prefix for ``evaluation.json``, ``sheet.png`` and ``sheet.webp``."""
    num_prompts: int = Field(ge=2)
    """Half of them combine attributes as no training caption does."""
    seed: int = Field(ge=0)
    sizes: dict[str, float]
    """Relative weight of each WIDTHxHEIGHT."""
    frames: dict[int, float]
    """Relative weight of each number of frames."""
    counts: dict[int, float]
    """Relative weight of each number of objects."""
    num_inference_steps: PositiveInt
    guidance_scale: PositiveFloat | None = None
    """The model's own when left out."""
    ablation: bool
    """Whether the same seeds are sampled without text too."""
    ceiling: bool = True
    """Whether the truth through the autoencoder is read, too: the most that a model could reach."""
    pack_tokens: PositiveInt
    """Most tokens in one forward pass, guidance's second branch counted."""
    sheet_clips: int = Field(ge=0)
    """Clips on the contact sheet."""
    gates: dict[str, Share] = Field(default={})
    """Least accuracy of an attribute; the command fails below it."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if unknown := sorted(set(self.gates) - set(VOCABULARY)):
            raise ValueError(f"gates: unknown attributes {unknown}; they are {', '.join(VOCABULARY)}")
        assert self.mix
        return self

    @property
    def mix(self) -> Mix:
        return Mix.parse(self.sizes, self.frames, self.counts)
