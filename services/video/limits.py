"""How much a request may ask for, in one table: what holds everywhere are the types that the schemas are made of, what
an operator decides is looked up in `check`, before anything is decoded, resized or kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header
from pydantic import AliasChoices, BaseModel, Field

from services.video.config import ApiSettings
from services.video.errors import ApiError, refused
from sora_core.shapes import PixelShape

# --- bodies, before anybody knows what they mean

MAX_FIELDS = 200
MAX_FILES = 16
MAX_NAME_CHARS = 200
MAX_DEPTH = 8
MAX_NODES = 20_000
"""Of a JSON text: its brackets, colons and commas, each of which may become an object of some hundred bytes."""
MAX_PART_HEADER_BYTES = 8192
FORM_OVERHEAD_BYTES = 2**20  # fields beside a file

# --- values

LARGEST_INT = 2**31 - 1
Id = Annotated[str, Field(min_length=1, max_length=100)]
ModelName = Annotated[str, Field(min_length=1, max_length=300)]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000)]
MorePrompt = Annotated[str, Field(max_length=100_000)]
Label = Annotated[str, Field(max_length=1000)]
DataUrl = Annotated[str, Field(min_length=1)]  # bounded with the body
Size = Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$", description="WIDTHxHEIGHT")]
AspectRatio = Annotated[str, Field(pattern=r"^\d{1,4}:\d{1,4}$", description="W:H; size wins over it")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
NumFrames = Annotated[int, Field(ge=1, le=LARGEST_INT)]
Fps = Annotated[float, Field(ge=0.1, le=120, description="rate at which the video plays, before interpolation")]
Steps = Annotated[int, Field(ge=1, le=LARGEST_INT)]
GuidanceScale = Annotated[float, Field(ge=0, le=100, description="1 leaves guidance out")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Outputs = Annotated[int, Field(ge=1, le=LARGEST_INT, validation_alias=AliasChoices("n", "num_outputs_per_prompt"))]
Side = Annotated[int, Field(ge=1, le=16_384, description="in pixels; with the other one the same as size")]
Unused = Annotated[float, Field(ge=-1000, le=1000, description="accepted, and not used")]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, description="a repeated request with it makes nothing new")
]
Priority = Annotated[int, Field(ge=-10, le=10, description="moves a request among the key's own")]
Strength = Annotated[
    float, Field(ge=0.001, le=1, description="share of the steps to run; 1 leaves nothing of the source")
]
Pixels = Annotated[float, Field(ge=-1e6, le=1e6)]
Moment = Annotated[float, Field(ge=0, le=1e6, description="in seconds")]


@dataclass(frozen=True, slots=True)
class _Bound:
    """The setting that bounds a parameter, and what of the parameter it bounds."""

    setting: str
    measure: Callable[[Any], float]
    text: str
    code: str = "invalid_value"


def _area(size: str) -> int:
    if "x" not in size:
        return 0  # auto: the model's own
    width, height = (int(side) for side in size.split("x"))
    return width * height


_BOUNDS = {
    "prompt": _Bound("max_prompt_chars", len, "the prompt has {} characters"),
    "negative_prompt": _Bound("max_prompt_chars", len, "the negative prompt has {} characters"),
    "n": _Bound("max_outputs", int, "n = {}"),
    "num_inference_steps": _Bound("max_steps", int, "num_inference_steps = {}"),
    "num_frames": _Bound("max_video_frames", int, "num_frames = {}", "too_long"),
    "seconds": _Bound("max_film_s", float, "seconds = {}", "too_long"),
    "size": _Bound("max_video_pixels", _area, "the size has {} pixels", "too_large"),
}


def check(request: BaseModel, limits: ApiSettings) -> None:
    """ApiError 400 for the first parameter that is more than the operator allows."""
    for name, bound in _BOUNDS.items():
        value = getattr(request, name, None)
        if value is None:
            continue
        amount, most = bound.measure(value), getattr(limits, bound.setting)
        if amount > most:
            raise refused(name, f"{bound.text.format(f'{amount:.15g}')}: at most {most}", bound.code)


def check_film(param: str, film: PixelShape, fps: float, limits: ApiSettings) -> None:
    """ApiError 400 for a video that would be too long, too large or too slow; ``param`` is what made it so."""
    pixels, seconds = film.height * film.width, film.frames / fps
    if film.frames > limits.max_video_frames:
        raise _too_long(param, f"{film.frames} frames", f"{limits.max_video_frames}")
    if pixels > limits.max_video_pixels:
        message = f"the video would be {film.width}x{film.height}: at most {limits.max_video_pixels} pixels"
        raise refused(param, message, "too_large")
    if seconds > limits.max_film_s:
        raise _too_long(param, f"{seconds:g} s at {fps:g} frames a second", f"{limits.max_film_s:g} s")


def _too_long(param: str, length: str, most: str) -> ApiError:
    return refused(param, f"the video would have {length}: at most {most}", "too_long")
