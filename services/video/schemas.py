"""What goes over the wire: requests as clients send them, answers as the `openai` clients read them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from services.video.job import Job, Status
from services.video.limits import (
    LARGEST_INT,
    AspectRatio,
    DataUrl,
    Fps,
    GuidanceScale,
    Id,
    ModelName,
    MorePrompt,
    NumFrames,
    Outputs,
    Priority,
    Prompt,
    Seconds,
    Seed,
    Side,
    Size,
    Steps,
    Unused,
)

WRONG = "wrong"


def wrong(param: str, message: str) -> PydanticCustomError:
    """What a validator raises about one of several parameters."""
    return PydanticCustomError(WRONG, "{message}", {"param": param, "message": message})


def check_span(start_s: float, end_s: float | None) -> None:
    """For validators of a part of a film: it ends, if anywhere, after it begins."""
    if end_s is not None and end_s <= start_s:
        raise wrong("end_s", f"{end_s:g} must be after start_s = {start_s:g}")


class ImageReference(BaseModel):
    """A picture by data URL; what the clients call ``input_reference`` when it isn't a file."""

    model_config = ConfigDict(extra="forbid")
    image_url: DataUrl


def as_reference(value: Any) -> Any:
    """A bare data URL means the object that holds it."""
    return {"image_url": value} if isinstance(value, str) else value


class Wish(BaseModel):
    """What every request for videos may say. Unknown names are refused, so that a typo never changes a result."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Prompt
    model: ModelName | None = None
    negative_prompt: MorePrompt = ""
    num_inference_steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: Seed | None = None
    n: Outputs = Field(default=1, description="videos to make, from consecutive seeds; also num_outputs_per_prompt")
    flow_shift: Unused | None = None
    boundary_ratio: Unused | None = None
    priority: Priority = 0
    enhance_prompt: bool = Field(default=False, description="a language model first writes the prompt out")
    enable_frame_interpolation: bool = Field(default=False, description="in the end make frames between the video's")
    frame_interpolation_exp: int = Field(default=1, ge=1, le=4, description="times that the frame rate doubles")

    @property
    def rate_factor(self) -> int:
        """By how much the frame rate grows."""
        return 2**self.frame_interpolation_exp if self.enable_frame_interpolation else 1

    @property
    def ignored(self) -> list[str]:
        """What is said that changes nothing here."""
        return [name for name in ("flow_shift", "boundary_ratio") if getattr(self, name) is not None]

    @property
    def source_ids(self) -> list[str]:
        """The videos of the key's own that it starts from."""
        return []


class FrameImage(BaseModel):
    """A still at a place of the video: its first or last frame, or the one with this index."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["frame_type"]}, {"required": ["index"]}]}
    )
    image_url: DataUrl = Field(description="a data URL")
    frame_type: Literal["first_frame", "last_frame"] | None = None
    index: int | None = Field(default=None, ge=0, le=LARGEST_INT)

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.frame_type is None) == (self.index is None):
            raise wrong("frame_type", "give frame_type or index, and one of them alone")
        return self


class CharacterReference(BaseModel):
    """A character of the same key."""

    model_config = ConfigDict(extra="forbid")
    id: Id


def as_characters(value: Any) -> Any:
    """Characters by their ids, and one alone by its own."""
    listed = [value] if isinstance(value, str | dict) else value
    return [{"id": one} if isinstance(one, str) else one for one in listed] if isinstance(listed, list) else listed


class CreateVideo(Wish):
    """The body of ``POST /v1/videos``."""

    seconds: Seconds | None = Field(default=None, description="rounded to the nearest 4k + 1 frames")
    num_frames: NumFrames | None = Field(default=None, description="wins over seconds")
    size: Size | None = None
    width: Side | None = None
    height: Side | None = None
    aspect_ratio: AspectRatio | None = None
    fps: Fps | None = None
    input_reference: Annotated[
        ImageReference | None, BeforeValidator(as_reference), Field(description="the first frame")
    ] = None
    frame_images: list[FrameImage] = Field(default=[], description="stills at places of the video", max_length=16)
    loop: bool = Field(default=False, description="whether the last frame leads to the first")
    characters: Annotated[
        tuple[CharacterReference, ...],
        BeforeValidator(as_characters),
        Field(description="who is seen; the prompt calls them by their names", max_length=16),
    ] = ()

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        self.size = size_of(self.size, self.width, self.height)
        return self


def size_of(size: str | None, width: int | None, height: int | None) -> str | None:
    """The size that is said as one or as two; a PydanticCustomError for half a one, or for two that differ."""
    if width is None and height is None:
        return size
    if width is None or height is None:
        raise wrong("width" if width is None else "height", "give width and height, or size")
    if size not in (None, "auto", f"{width}x{height}"):
        raise wrong("size", f"{size} is another than width and height: give one of both")
    return f"{width}x{height}"


class VideoLinks(BaseModel):
    """Addresses of a completed video's files that need no key until ``expires_at`` (Unix seconds)."""

    video: str
    thumbnail: str
    spritesheet: str
    expires_at: int


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
    revised_prompt: str | None = Field(default=None, description="what enhance_prompt made of the prompt")
    truncated: bool = Field(default=False, description="whether the model reads the beginning of the prompt alone")
    edit: str | None = Field(default=None, description="the kind of edit that it is")
    started_at: int | None
    queue_position: int | None = Field(
        default=None, description="which one it is of its model's waiting ones, 1 the next; null once it was begun"
    )
    predicted_end_at: int | None = Field(
        default=None, description="when it should be done, while it is open; null before a speed was measured"
    )
    inference_time_s: float | None = Field(default=None, description="from its start to its end, once it is completed")
    siblings: list[str] = Field(default=[], description="the other videos of a request with n > 1")
    characters: list[str] = Field(default=[], description="the characters that it shows, by their ids")
    sources: list[str] = Field(default=[], description="the videos that it was made from, by their ids")
    links: VideoLinks | None = Field(default=None, description="where its files are, without a key, for a while")

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
            revised_prompt=params.get("revised_prompt"),  # jobs from before it was offered have none
            truncated=params.get("truncated", False),
            remixed_from_video_id=params["remixed_from"],
            error=VideoError(code=job.error_code, message=job.error_message or "") if job.error_code else None,
            seed=params["seed"],
            fps=params["fps"],
            num_frames=params["num_frames"],
            width=params["width"],
            height=params["height"],
            negative_prompt=params["negative_prompt"],
            guidance_scale=params["guidance_scale"],
            num_inference_steps=params["num_inference_steps"],
            priority=job.priority,
            edit=_edit_of(params["film"]),
            started_at=_whole(job.started_at),
            inference_time_s=_took_s(job),
            characters=params.get("characters", []),  # jobs from before they were offered have none
            sources=params.get("sources", []),
        )


def _edit_of(film: dict[str, Any] | None) -> str | None:
    """The kind of edit of a film; None for one of words alone."""
    if film is None or film["edit"].get("indices") == []:
        return None
    kind: str = film["edit"]["kind"]
    return kind


def _took_s(job: Job) -> float | None:
    if job.result is None or job.started_at is None or job.completed_at is None:
        return None
    return round(max(0.0, job.completed_at - job.started_at), 3)


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
    forward, where guidance counts a clip twice. What is longer than ``usual_tokens``, a clip of its training, is edited
    in windows. Without ``text`` among its ``inputs`` it makes nothing from words alone. ``edits`` are those that it was
    trained for, ``given`` the kinds of given latents that it has learned; ``characters``: whether with reference clips
    of a subject. Of a prompt its ``text_encoder`` reads ``max_prompt_tokens``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    object: Literal["video.model"] = "video.model"
    created: int
    checkpoint: str
    inputs: tuple[Literal["text", "image"], ...]
    edits: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    characters: bool = False
    fps: float
    size_multiple: int
    frame_multiple: int
    patch: tuple[int, int, int]
    usual_tokens: int = 0
    max_tokens: int
    max_side_tokens: int
    token_budget: int
    text_encoder: str = ""
    max_prompt_tokens: int | None = None
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
