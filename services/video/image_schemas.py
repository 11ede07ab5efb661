"""The Images API: requests as clients send them, answers as they read them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from services.video.schemas import LARGEST_INT, AspectRatio, CreateVideo, GuidanceScale, Priority, Seed, Size, Steps

ImageFormat = Literal["png", "jpeg", "webp"]


class CreateImages(BaseModel):
    """The body of ``POST /v1/images/generations``; values that the model can't honour are not among the choices."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    model: str | None = None
    n: int = Field(default=1, ge=1, le=LARGEST_INT)
    size: Size | Literal["auto"] | None = None
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: ImageFormat = "png"
    output_compression: int = Field(default=100, ge=0, le=100, description="quality of JPEG and WebP")
    quality: Literal["auto", "standard"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    moderation: Literal["auto"] = "auto"
    stream: Literal[False] = False
    user: str | None = Field(default=None, description="accepted, and not used")
    negative_prompt: str = ""
    aspect_ratio: AspectRatio | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: Seed | None = None
    priority: Priority = 0

    @field_validator("*", mode="before")
    @classmethod
    def _default_for_null(cls, value: Any, info: ValidationInfo) -> Any:
        """The clients' types allow null for what is left out."""
        assert info.field_name is not None
        return cls.model_fields[info.field_name].default if value is None and info.field_name != "prompt" else value

    def as_video(self) -> CreateVideo:
        """The same wish as a video of one frame."""
        return CreateVideo(
            prompt=self.prompt,
            model=self.model,
            n=self.n,
            size=None if self.size == "auto" else self.size,
            num_frames=1,
            negative_prompt=self.negative_prompt,
            aspect_ratio=self.aspect_ratio,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            priority=self.priority,
        )


class StillImage(BaseModel):
    """One image, as data or as a link that is good for a while, and the seed that makes it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImageList(BaseModel):
    """The answer of ``POST /v1/images/generations``."""

    created: int
    size: str
    output_format: ImageFormat
    background: Literal["opaque"] = "opaque"
    data: list[StillImage]
