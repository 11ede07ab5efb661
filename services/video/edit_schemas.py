"""Requests that start from videos or a picture: edits, extensions, transitions, remixes."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.video.limits import (
    AspectRatio,
    Fps,
    Id,
    ModelName,
    Moment,
    MorePrompt,
    NumFrames,
    Pixels,
    Priority,
    Prompt,
    Seconds,
    Size,
    Strength,
)
from services.video.schemas import ImageReference, Wish, as_reference, check_span, wrong

DEFAULT_STRENGTH = 0.7


class VideoReference(BaseModel):
    """A video of the same key."""

    model_config = ConfigDict(extra="forbid")
    id: Id


def _as_video(value: Any) -> Any:
    """A bare id means the object that holds it."""
    return {"id": value} if isinstance(value, str) else value


SourceVideo = Annotated[VideoReference, BeforeValidator(_as_video)]


class Box(BaseModel):
    """A part of the picture, in pixels of the source as it is displayed, and of its time, in seconds of the source."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    x: Pixels
    y: Pixels
    width: Pixels = Field(gt=0)
    height: Pixels = Field(gt=0)
    start_s: Moment = 0
    end_s: Moment | None = None


class FromVideo(Wish):
    """What starts from a video: of the same key by id, or a file."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["video", "video_id"]}})

    video: SourceVideo | None = Field(default=None, description="the source: a file, or a video of this key by id")
    video_id: Id | None = Field(default=None, description="the same as video, by id")
    start_s: Moment = Field(default=0, description="where the source begins, in seconds of its file")
    end_s: Moment | None = Field(default=None, description="where it ends")
    fps: Fps | None = None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.video is not None and self.video_id is not None:
            raise wrong("video_id", "give video or video_id, not both")
        check_span(self.start_s, self.end_s)
        return self

    @property
    def source_id(self) -> str | None:
        return self.video.id if self.video is not None else self.video_id

    @property
    def source_ids(self) -> list[str]:
        return [] if self.source_id is None else [self.source_id]


class EditVideo(FromVideo):
    """The body of ``POST /v1/videos/edits``.

    With a mask or boxes these are painted anew, with another size or aspect what lies around the source, with nothing
    but interpolation what lies between its frames; otherwise all of it, by the prompt.
    """

    strength: Strength | None = None
    mask: Annotated[
        ImageReference | None, BeforeValidator(as_reference), Field(description="white where to paint anew: a picture")
    ] = None
    mask_video: SourceVideo | None = Field(
        default=None, description="the same as a video, which begins where the source does"
    )
    boxes: tuple[Box, ...] = Field(default=(), description="parts to paint anew", max_length=32)
    remove_bars: bool = Field(default=False, description="paint black bars anew")
    size: Size | None = None
    aspect_ratio: AspectRatio | None = None


class ExtendVideo(FromVideo):
    """The body of ``POST /v1/videos/extensions``; the answer's ``seconds`` are those of the whole."""

    seconds: Seconds | None = Field(default=None, description="length of what is new")
    num_frames: NumFrames | None = Field(default=None, description="new frames; wins over seconds")
    direction: Literal["forward", "backward"] = "forward"
    loop: bool = Field(default=False, description="whether what is new leads back to the source's beginning")


class JoinVideos(Wish):
    """The body of ``POST /v1/videos/transitions``."""

    videos: tuple[SourceVideo, ...] = Field(
        default=(), max_length=2, description="two videos of this key, or two files"
    )
    seconds: Seconds | None = Field(default=None, description="length of what lies between them")
    num_frames: NumFrames | None = Field(default=None, description="new frames; wins over seconds")
    fps: Fps | None = None

    @property
    def source_ids(self) -> list[str]:
        return [video.id for video in self.videos]


class Cut(BaseModel):
    """A video of the same key, or the part of it between two times."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: Id
    start_s: Moment = Field(default=0, description="where it begins, in seconds")
    end_s: Moment | None = Field(default=None, description="where it ends")

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        check_span(self.start_s, self.end_s)
        return self


def _as_cut(value: Any) -> Any:
    """A bare id means the whole video."""
    return {"id": value} if isinstance(value, str) else value


class CutVideos(BaseModel):
    """The body of ``POST /v1/videos/cuts``: parts of videos one after another, at the first one's rate and size. One
    alone is a video made shorter. No model is run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    clips: tuple[Annotated[Cut, BeforeValidator(_as_cut)], ...] = Field(min_length=1, max_length=16)
    prompt: MorePrompt = Field(default="", description="what the new video is called by; the first one's otherwise")
    model: ModelName | None = None
    priority: Priority = 0


class CutWish(Wish):
    """A cut as a wish: its words are those of its first clip unless it has some of its own."""

    prompt: MorePrompt
    clips: tuple[Cut, ...]

    @property
    def source_ids(self) -> list[str]:
        return list(dict.fromkeys(clip.id for clip in self.clips))


class EditStill(Wish):
    """What ``POST /v1/images/edits`` asks of a job: without a mask all of the picture is made anew."""

    image: ImageReference | None = None
    mask: ImageReference | None = None
    strength: Strength | None = None
    size: Size | None = None


class RemixVideo(BaseModel):
    """The body of ``POST /v1/videos/{id}/remix``; seed and settings are the video's own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Prompt
    strength: Strength = DEFAULT_STRENGTH
