"""What goes over the wire: requests as clients send them, answers as the `openai` clients read them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.video.job import Job, Status


class ImageReference(BaseModel):
    """A picture by data URL; what the clients call ``input_reference`` when it isn't a file."""

    model_config = ConfigDict(extra="forbid")
    image_url: str


def _as_reference(value: Any) -> Any:
    """A bare data URL means the object that holds it."""
    return {"image_url": value} if isinstance(value, str) else value


class CreateVideo(BaseModel):
    """The body of ``POST /v1/videos``. Unknown names are refused, so that a typo never changes a result silently."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1)
    model: str | None = None
    seconds: float | None = Field(default=None, gt=0, description="rounded to the nearest 4k + 1 frames")
    size: str | None = Field(default=None, pattern=r"^\d{1,5}x\d{1,5}$", description="WIDTHxHEIGHT")
    input_reference: Annotated[ImageReference | None, BeforeValidator(_as_reference)] = None
    negative_prompt: str = ""
    num_frames: int | None = Field(default=None, ge=1, description="wins over seconds")
    fps: float | None = Field(default=None, gt=0, le=120, description="rate at which the video plays")
    aspect_ratio: str | None = Field(default=None, pattern=r"^\d{1,4}:\d{1,4}$", description="W:H; size wins over it")
    num_inference_steps: int | None = Field(default=None, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, le=100, description="1 leaves guidance out")
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    n: int = Field(default=1, ge=1, description="videos to make, from consecutive seeds")
    priority: int = Field(default=0, ge=-10, le=10, description="moves a request among the key's own")


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

    ``max_tokens`` bounds one clip, ``token_budget`` a packed forward, where guidance counts a clip twice.
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
