"""What a person decides about training an autoencoder."""

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from jobs.launch import JobConfig

Share = Annotated[float, Field(ge=0, le=1)]


class LayoutConfig(JobConfig):
    """AutoencoderKLWan's numbers, under diffusers' names. 4x in time and 8x in space come with three levels."""

    base_dim: PositiveInt = 32
    z_dim: PositiveInt = 16
    dim_mult: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 2, 4)
    num_res_blocks: PositiveInt = 1


class TrainVaeConfig(JobConfig):
    """Train a causal video autoencoder on the videos and photographs under a URI."""

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

    steps: PositiveInt = 4000
    batch: PositiveInt = 4
    frames: PositiveInt = Field(9, description="4k + 1; with fewer than 9 the convolutions over time see mostly zeros")
    side: PositiveInt = Field(64, multiple_of=8, ge=48, description="of the square crops, in pixels")
    world_share: Share = Field(0.15, description="of crops that show the controlled world")
    learning_rate: PositiveFloat = 4e-4
    trunk_rate: PositiveFloat = Field(0.3, description="learning rate of the trunk's weights, in learning rates")
    rise_steps: PositiveInt = 300
    kl_weight: float = Field(1e-6, ge=0)
    ssim_weight: float = Field(0.03, ge=0, description="of 1 - SSIM")
    perceptual_weight: float = Field(0.07, ge=0, description="of ST-LPIPS of one frame a clip")
    perceptual_from: Share = Field(0.15, description="share of the steps after which the perceptual term begins")
    ema_decay: Share = 0.998
    bfloat16: bool = Field(True, description="autocast; faster where the CPU or GPU has it")
    num_threads: int = Field(0, ge=0, description="0 leaves torch's own choice")

    checkpoint_every: PositiveInt = Field(400, description="steps; each is measured and can be resumed from")
    measured_side: PositiveInt = Field(128, multiple_of=8, ge=48)
    measured_frames: PositiveInt = 17

    @model_validator(mode="after")
    def _whole_clips(self) -> Self:
        for name in ("frames", "measured_frames"):
            frames = getattr(self, name)
            if frames < 5 or frames % 4 != 1:
                raise ValueError(f"{name} = {frames}: an autoencoder of 4x in time takes 5, 9, 13, ... frames")
        return self
