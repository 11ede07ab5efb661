"""The Images API: requests as clients send them, answers as they read them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.video.edit_schemas import EditStill
from services.video.limits import (
    AspectRatio,
    GuidanceScale,
    Label,
    ModelName,
    MorePrompt,
    Outputs,
    Priority,
    Prompt,
    Seed,
    Side,
    Size,
    Steps,
    Strength,
    Unused,
)
from services.video.schemas import CreateVideo, ImageReference, as_reference, size_of

_UNUSED = "accepted, and not used"
_IGNORED = ("quality", "style", "input_fidelity", "moderation", "user", "flow_shift", "boundary_ratio")
ImageFormat = Literal["png", "jpeg", "webp"]


class _Images(BaseModel):
    """What both requests for images may say; values that the model can't honour are not among the choices."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Prompt
    model: ModelName | None = None
    n: Outputs = 1
    size: Size | Literal["auto"] | None = None
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: ImageFormat = "png"
    output_compression: int = Field(default=100, ge=0, le=100, description="quality of JPEG and WebP")
    width: Side | None = None
    height: Side | None = None
    quality: Literal["auto", "standard", "hd", "low", "medium", "high"] = Field(default="auto", description=_UNUSED)
    style: Literal["vivid", "natural"] | None = Field(default=None, description=_UNUSED)
    input_fidelity: Literal["low", "high"] | None = Field(default=None, description=_UNUSED)
    moderation: Literal["auto", "low"] = Field(default="auto", description=_UNUSED)
    background: Literal["auto", "opaque"] = "auto"
    flow_shift: Unused | None = None
    boundary_ratio: Unused | None = None
    stream: Annotated[Literal[False], BeforeValidator(lambda value: value != "false" and value)] = False
    user: Label | None = Field(default=None, description="accepted, and not used")
    negative_prompt: MorePrompt = ""
    num_inference_steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: Seed | None = None
    priority: Priority = 0

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        self.size = size_of(self.size, self.width, self.height)
        return self

    @property
    def ignored(self) -> list[str]:
        """What is said that changes nothing here."""
        said = self.model_fields_set & {*_IGNORED}
        return [name for name in _IGNORED if name in said and getattr(self, name) not in (None, "auto")]

    def _shared(self) -> dict[str, Any]:
        """What the wish for a job says under the same names."""
        names = ("prompt", "model", "n", "negative_prompt", "num_inference_steps", "guidance_scale", "seed", "priority")
        return {name: getattr(self, name) for name in names} | {"size": None if self.size == "auto" else self.size}


class CreateImages(_Images):
    """The body of ``POST /v1/images/generations``."""

    aspect_ratio: AspectRatio | None = None

    def wish(self) -> CreateVideo:
        """The same as a video of one frame."""
        return CreateVideo(num_frames=1, aspect_ratio=self.aspect_ratio, **self._shared())


class EditImages(_Images):
    """The body of ``POST /v1/images/edits``: all of an image made anew by the prompt, or what a mask leaves open."""

    image: Annotated[
        ImageReference | None, BeforeValidator(as_reference), Field(description="a picture: a file, or a data URL")
    ] = None
    mask: Annotated[
        ImageReference | None,
        BeforeValidator(as_reference),
        Field(description="a picture of the same size, fully transparent where to paint anew"),
    ] = None
    strength: Strength | None = None

    def wish(self) -> EditStill:
        """The same as the edit of a video of one frame."""
        return EditStill(image=self.image, mask=self.mask, strength=self.strength, **self._shared())


class StillImage(BaseModel):
    """One image, as data or as a link that is good for a while, and the seed that makes it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImageList(BaseModel):
    """The answer to both."""

    created: int
    size: str
    output_format: ImageFormat
    background: Literal["opaque"] = "opaque"
    data: list[StillImage]
