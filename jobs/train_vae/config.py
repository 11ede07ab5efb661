"""What a person decides about training an autoencoder."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from jobs.launch import JobConfig
from sora_core.precision import Choice

Share = Annotated[float, Field(ge=0, le=1)]


class LayoutConfig(JobConfig):
    """AutoencoderKLWan's numbers, under diffusers' names. 4x in time and 8x in space come with three levels."""

    base_dim: PositiveInt = 32
    z_dim: PositiveInt = 16
    dim_mult: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 2, 4)
    num_res_blocks: PositiveInt = 1


class PhaseConfig(JobConfig):
    """A stretch of training on clips of one length, with a learning rate that rises and then falls as a cosine."""

    steps: PositiveInt
    batch: PositiveInt
    frames: PositiveInt = Field(description="4k + 1; with fewer than 9 the convolutions over time see mostly zeros")
    learning_rate: PositiveFloat
    rise_steps: PositiveInt
    perceptual_weight: float = Field(ge=0, description="of ST-LPIPS of one frame a clip")
    perceptual_from: Share = 0.0  # share of the steps after which that term begins
    ema_decay: Share

    @field_validator("frames")
    @classmethod
    def _whole_clips(cls, frames: int) -> int:
        return whole_clips(frames)


def whole_clips(frames: int) -> int:
    """``frames`` if an autoencoder of 4x in time can be trained and measured on as many."""
    if frames < 5 or frames % 4 != 1:
        raise ValueError(f"{frames} frames: an autoencoder of 4x in time takes 5, 9, 13, ...")
    return frames


SHORT_CLIPS = PhaseConfig(
    steps=3600,
    batch=4,
    frames=9,
    learning_rate=4e-4,
    rise_steps=300,
    perceptual_weight=0.07,
    perceptual_from=0.15,
    ema_decay=0.998,
)
LONG_CLIPS = PhaseConfig(
    steps=500, batch=2, frames=21, learning_rate=1.5e-4, rise_steps=20, perceptual_weight=0.04, ema_decay=0.99
)


class TrainVaeConfig(JobConfig):
    """Train a causal video autoencoder on the videos and photographs under a URI. It runs on this machine's CPU."""

    source: str
    output: str
    train: tuple[str, ...] = Field(("*",), description="file name patterns; files of held_out are left out")
    held_out: tuple[str, ...] = Field(min_length=1, description="file name patterns, for measuring only")
    layout: LayoutConfig = LayoutConfig()
    seed: int = 0

    warm_start: bool = Field(True, description="begin as a linear codec; False begins at random")
    trunk_steps: int = Field(3200, ge=0, description="of training the linear codec alone")
    trunk_batch: PositiveInt = 6
    trunk_learning_rate: PositiveFloat = 1.2e-3

    # A network that saw only 9 frames loses 2 dB from the tenth on, against its own first nine.
    phases: tuple[PhaseConfig, ...] = Field((SHORT_CLIPS, LONG_CLIPS), min_length=1)
    side: PositiveInt = Field(64, multiple_of=8, ge=48, description="of the square crops, in pixels")
    world_share: Share = Field(0.15, description="of crops that show the controlled world")
    trunk_rate: PositiveFloat = Field(0.3, description="learning rate of the trunk's weights, in learning rates")
    kl_weight: float = Field(1e-6, ge=0)
    ssim_weight: float = Field(0.03, ge=0, description="of 1 - SSIM")
    precision: Choice = Field("auto", description="of matrix products; auto: what this machine computes fast")
    num_threads: int = Field(0, ge=0, description="0 leaves torch's own choice")

    checkpoint_every: PositiveInt = Field(400, description="steps; each is measured and can be resumed from")
    measured_side: PositiveInt = Field(128, multiple_of=8, ge=48)
    measured_frames: PositiveInt = 17

    @field_validator("measured_frames")
    @classmethod
    def _whole_clips(cls, frames: int) -> int:
        return whole_clips(frames)

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)
