"""The Images API: requests as clients send them, answers as they read them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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
    Size,
    Steps,
    Strength,
)
from services.video.schemas import CreateVideo, ImageReference, as_reference

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
    quality: Literal["auto", "standard"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    moderation: Literal["auto"] = "auto"
    stream: Annotated[Literal[False], BeforeValidator(lambda value: value != "false" and value)] = False
    user: Label | None = Field(default=None, description="accepted, and not used")
    negative_prompt: MorePrompt = ""
    num_inference_steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: Seed | None = None
    priority: Priority = 0

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
