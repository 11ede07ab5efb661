"""What goes over the wire: requests as clients send them, answers as the `openai` clients read them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from services.video.job import Job, Status


class ImageReference(BaseModel):
    """A picture by data URL; what the clients call ``input_reference`` when it isn't a file."""

    model_config = ConfigDict(extra="forbid")
    image_url: str


def _as_reference(value: Any) -> Any:
    """A bare data URL means the object that holds it."""
    return {"image_url": value} if isinstance(value, str) else value


_WHOLE = 2**31 - 1
Size = Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$", description="WIDTHxHEIGHT")]
AspectRatio = Annotated[str, Field(pattern=r"^\d{1,4}:\d{1,4}$", description="W:H; size wins over it")]
Steps = Annotated[int, Field(ge=1, le=_WHOLE)]
GuidanceScale = Annotated[float, Field(ge=0, le=100, description="1 leaves guidance out")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Priority = Annotated[int, Field(ge=-10, le=10, description="moves a request among the key's own")]


class CreateVideo(BaseModel):
    """The body of ``POST /v1/videos``. Unknown names are refused, so that a typo never changes a result silently."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    model: str | None = None
    seconds: float | None = Field(default=None, gt=0, le=86_400, description="rounded to the nearest 4k + 1 frames")
    size: Size | None = None
    input_reference: Annotated[
        ImageReference | None, BeforeValidator(_as_reference), Field(description="the first frame")
    ] = None
    negative_prompt: str = ""
    num_frames: int | None = Field(default=None, ge=1, le=_WHOLE, description="wins over seconds")
    fps: float | None = Field(default=None, ge=0.1, le=120, description="rate at which the video plays")
    aspect_ratio: AspectRatio | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: Seed | None = None
    n: int = Field(default=1, ge=1, le=_WHOLE, description="videos to make, from consecutive seeds")
    priority: Priority = 0
    enhance_prompt: bool = Field(default=False, description="a language model first writes the prompt out")


ImageFormat = Literal["png", "jpeg", "webp"]


class CreateImages(BaseModel):
    """The body of ``POST /v1/images/generations``; values that the model can't honour are not among the choices."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    model: str | None = None
    n: int = Field(default=1, ge=1, le=_WHOLE)
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


class VideoError(BaseModel):
    code: str
    message: str


class Video(BaseModel):
    """A video as the official clients know it, and after ``error`` what this service adds."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Status
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    seconds: str
    size: str
    remixed_from_video_id: str | None = None
    error: VideoError | None
    seed: int
    fps: float
    num_frames: int
    width: int
    height: int
    negative_prompt: str
    guidance_scale: float
    num_inference_steps: int
    priority: int
    started_at: int | None
    revised_prompt: str | None = Field(default=None, description="what enhance_prompt made of the prompt")
    siblings: list[str] = Field(default=[], description="the other videos of a request with n > 1")

    @classmethod
    def of(cls, job: Job) -> "Video":
        params = job.params
        return cls(
            id=job.id,
            model=job.model,
            status=job.status,
            progress=job.progress,
            created_at=int(job.created_at),
            completed_at=_whole(job.completed_at),
            expires_at=_whole(job.expires_at),
            prompt=params["prompt"],
            seconds=params["seconds"],
            size=f"{params['width']}x{params['height']}",
            error=VideoError(code=job.error_code, message=job.error_message or "") if job.error_code else None,
            seed=params["seed"],
            fps=params["fps"],
            num_frames=params["num_frames"],
            width=params["width"],
            height=params["height"],
            negative_prompt=params["negative_prompt"],
            guidance_scale=params["guidance_scale"],
            num_inference_steps=job.num_steps,
            priority=job.priority,
            started_at=_whole(job.started_at),
            revised_prompt=params.get("revised_prompt"),  # jobs from before it was offered have none
        )


def _whole(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)


class VideoList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedVideo(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class Model(BaseModel):
    """An entry of ``GET /v1/models``."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "sora-on-ray"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ModelCard(BaseModel):
    """What the served model is and can do, as the sampler that loaded it says; ``GET /v1/videos/models``.

    ``max_tokens`` bounds one clip, ``max_side_tokens`` each of its sides and its length, ``token_budget`` a packed
    forward, where guidance counts a clip twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    object: Literal["video.model"] = "video.model"
    created: int
    checkpoint: str
    inputs: tuple[Literal["text", "image"], ...]
    fps: float
    size_multiple: int
    frame_multiple: int
    patch: tuple[int, int, int]
    max_tokens: int
    max_side_tokens: int
    token_budget: int
    default_size: str
    default_num_frames: int
    default_num_inference_steps: int
    default_guidance_scale: float


class ModelCardList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The envelope of every answer with a status of 400 or more."""

    error: ErrorDetail
