"""What a loaded pipeline says about itself to the API, which holds no model."""

import math
import time
from typing import Literal

from services.video.config import ServiceConfig
from services.video.schemas import ModelCard
from sora_core.edits import supported
from sora_core.errors import ConfigError, InputError
from sora_core.pipeline import Pipeline, Request
from sora_core.pipeline.parts import EXTRAPOLATION
from sora_core.shapes import Compression

_DEFAULT_SECONDS = 4
_DEFAULT_ASPECT = 16 / 9
_FEWEST_TOKENS_A_FRAME = 16
_MOST_TOKENS_A_FRAME = 80 * 45  # 1280x720 in patches of 16 pixels


def model_card(pipeline: Pipeline, config: ServiceConfig) -> ModelCard:
    """The card of a pipeline under a config. ConfigError when the default shape is one that it can't make."""
    num_frames, size = default_shape(pipeline)
    patch, words = pipeline.dit.config.patch, pipeline.shown is None
    # Restyling keeps no frame that a model could be shown.
    abilities = tuple(name for name in supported(pipeline.room.given) if words or name != "restyle")
    images: tuple[Literal["image"], ...] = ("image",) if {"first_frame", "both_ends"} & {*abilities} else ()
    card = ModelCard(
        id=pipeline.name,
        created=int(time.time()),
        checkpoint=config.checkpoint,
        inputs=("text", *images) if words else images,
        edits=(*abilities, "join"),  # which asks nothing of a model
        characters="character" in abilities,
        given=tuple(sorted(pipeline.room.given)),
        fps=pipeline.fps,
        size_multiple=pipeline.limits.multiple_of,
        frame_multiple=pipeline.limits.frame_step,
        patch=(patch.time, patch.height, patch.width),
        usual_tokens=pipeline.room.usual_tokens,
        max_tokens=pipeline.limits.max_tokens,
        max_side_tokens=pipeline.limits.max_side_tokens,
        token_budget=config.sampler.token_budget,
        text_encoder=pipeline.text_encoder.source,
        max_prompt_tokens=pipeline.text_encoder.max_tokens,
        default_size=config.defaults.size or size,
        default_num_frames=config.defaults.num_frames or num_frames,
        default_num_inference_steps=config.defaults.num_inference_steps or pipeline.sampling.num_inference_steps,
        default_guidance_scale=_default(config.defaults.guidance_scale, pipeline.sampling.guidance_scale),
    )
    width, height = (int(side) for side in card.default_size.split("x"))
    request = Request(prompt="", num_frames=card.default_num_frames, height=height, width=width)
    try:
        pipeline.limits.check(request, pipeline.vae.compression, patch)
    except InputError as error:
        raise ConfigError(f"defaults: {error}") from error
    return card


def _default(chosen: float | None, own: float) -> float:
    return own if chosen is None else chosen


def default_shape(pipeline: Pipeline) -> tuple[int, str]:
    """Frames and size of about the longest clip that the model was trained on: a few seconds, 16:9."""
    tokens = pipeline.limits.max_tokens // EXTRAPOLATION
    compression = Compression(pipeline.limits.frame_step)
    latent_frames = compression.latent_frames(compression.nearest_frames(_DEFAULT_SECONDS * pipeline.fps))
    latent_frames = max(1, min(latent_frames, tokens // _FEWEST_TOKENS_A_FRAME))
    per_frame = min(tokens // latent_frames, _MOST_TOKENS_A_FRAME)
    rows = max(1, math.floor(math.sqrt(per_frame / _DEFAULT_ASPECT)))
    columns = max(1, min(per_frame // rows, round(rows * _DEFAULT_ASPECT)))
    side = pipeline.limits.multiple_of
    return compression.pixel_frames(latent_frames), f"{columns * side}x{rows * side}"
