"""From what a client asks for to a shape that the model can make, or a refusal with the numbers and the remedy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.video.errors import refused
from services.video.schemas import CreateVideo, ModelCard, Wish
from sora_core import edits
from sora_core.edits import Room
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape, TokenGrid


@dataclass(frozen=True, slots=True)
class Sizing:
    """A request in numbers. ``batch_tokens`` is its load on a packed step: guidance counts the clip twice, not what it
    refers to.

    An edit is made in ``num_windows``, of which ``batch_tokens`` is the largest and ``num_made`` the frames of all;
    ``num_steps`` are asked for in each, and ``num_evaluations`` are those of all windows.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    seconds: str
    num_steps: int
    guidance_scale: float
    batch_tokens: int
    num_evaluations: int
    num_made: int
    num_windows: int = 1


def size_clip(request: CreateVideo, card: ModelCard, beside: int = 0) -> Sizing:
    """The shape of a request on this model, with so many tokens of references ``beside`` its clip.

    ApiError 400 that names the parameter, the numbers and what would do.
    """
    fps = request.fps if request.fps is not None else card.fps
    num_frames = _frames(request, card, fps)
    width, height = _size(request, card)
    num_steps, guidance = _sampling(request, card)
    grid = clip_grid(card, num_frames, height, width)
    branches = _branches(guidance)
    _check_tokens(request, card, PixelShape(num_frames, height, width), grid, _most_tokens(card, branches, beside))
    return Sizing(
        num_frames=num_frames,
        height=height,
        width=width,
        fps=fps,
        seconds=f"{round(num_frames / fps, 3):g}",
        num_steps=num_steps,
        guidance_scale=guidance,
        batch_tokens=grid.num_tokens * branches + beside,
        num_evaluations=num_steps,
        num_made=num_frames,
    )


def room_of(request: Wish, card: ModelCard, beside: int = 0) -> Room:
    """What one window of an edit may hold on this model, with so many tokens of references ``beside`` it."""
    guidance = card.default_guidance_scale if request.guidance_scale is None else request.guidance_scale
    most = _most_tokens(card, _branches(guidance), beside)
    return Room(
        compression=Compression(card.frame_multiple, card.size_multiple // card.patch[1]),
        patch=Patch(*card.patch),
        usual_tokens=min(card.usual_tokens, most),
        max_tokens=most,
        max_side_tokens=card.max_side_tokens,
        given=frozenset(card.given),
    )


def size_film(stages: Sequence[edits.Plan], fps: float, request: Wish, card: ModelCard, beside: int = 0) -> Sizing:
    """An edit, whose windows are known, in numbers; ``fps`` is the rate that it ends with, ``beside`` the
    tokens of its references."""
    num_steps, guidance = _sampling(request, card)
    film = stages[-1].film
    shapes = [window.shape for stage in stages for window in stage.windows]
    grids = [clip_grid(card, shape.frames, shape.height, shape.width).num_tokens for shape in shapes]
    tokens = max(grids, default=0)  # none where clips are only joined
    return Sizing(
        num_frames=film.frames,
        height=film.height,
        width=film.width,
        fps=fps,
        seconds=f"{round(film.frames / fps, 3):g}",
        num_steps=num_steps,
        guidance_scale=guidance,
        batch_tokens=tokens * _branches(guidance) + beside,
        num_evaluations=sum(len(stage.windows) * math.ceil(round(num_steps * stage.strength, 6)) for stage in stages),
        num_made=sum(shape.frames for shape in shapes),
        num_windows=len(shapes),
    )


def can_make(card: ModelCard, shape: PixelShape, guidance_scale: float | None) -> bool:
    """Whether the model makes a clip of this shape in one go: `size_clip` would take it."""
    try:
        grid = clip_grid(card, shape.frames, shape.height, shape.width)
    except InputError:
        return False
    guidance = card.default_guidance_scale if guidance_scale is None else guidance_scale
    longest_side = max(grid.frames, grid.height, grid.width)
    return grid.num_tokens <= _most_tokens(card, _branches(guidance), 0) and longest_side <= card.max_side_tokens


def _sampling(request: Wish, card: ModelCard) -> tuple[int, float]:
    """Steps and guidance scale."""
    num_steps = request.num_inference_steps or card.default_num_inference_steps
    return num_steps, card.default_guidance_scale if request.guidance_scale is None else request.guidance_scale


def _branches(guidance_scale: float) -> int:
    """How often guidance counts a clip."""
    return 2 if guidance_scale != 1 else 1


def clip_grid(card: ModelCard, num_frames: int, height: int, width: int) -> TokenGrid:
    """A clip as the card's model sees it; InputError for a shape that it can't hold."""
    compression = Compression(card.frame_multiple, card.size_multiple // card.patch[1])
    latent = compression.latent(PixelShape(num_frames, height, width), channels=1)
    return Patch(*card.patch).grid(latent)


def _frames(request: CreateVideo, card: ModelCard, fps: float) -> int:
    if request.num_frames is not None:
        try:
            Compression(time=card.frame_multiple).latent_frames(request.num_frames)
        except InputError as error:
            raise refused("num_frames", str(error)) from error
        return request.num_frames
    if request.seconds is not None:
        return Compression(card.frame_multiple).nearest_frames(request.seconds * fps)
    return card.default_num_frames


def _size(request: CreateVideo, card: ModelCard) -> tuple[int, int]:
    """Width and height."""
    if request.size is None and request.aspect_ratio is not None:
        width, height = (int(side) for side in card.default_size.split("x"))
        return _with_aspect(request.aspect_ratio, width * height, card.size_multiple)
    return checked_size(request.size or card.default_size, card.size_multiple)


def checked_size(size: str, step: int) -> tuple[int, int]:
    """Width and height of a size; ApiError 400 unless both are multiples."""
    width, height = (int(side) for side in size.split("x"))
    if width % step or height % step or not (width and height):
        near = f"{_near(width, step)}x{_near(height, step)}"
        raise refused("size", f"size {width}x{height}: both sides must be multiples of {step}; use {near}")
    return width, height


def grown(aspect_ratio: str, shape: PixelShape, step: int) -> tuple[int, int]:
    """Width and height of about an aspect, in which a picture of this shape has room as it is."""
    ratio = _ratio(aspect_ratio)
    width, height = (
        _near(max(shape.width, shape.height * ratio), step),
        _near(max(shape.height, shape.width / ratio), step),
    )
    return max(width, shape.width), max(height, shape.height)


def _with_aspect(aspect_ratio: str, area: int, step: int) -> tuple[int, int]:
    """The size of about ``area`` pixels whose aspect is nearest to the one asked for."""
    ratio = _ratio(aspect_ratio)
    return _near(math.sqrt(area * ratio), step), _near(math.sqrt(area / ratio), step)


def _ratio(aspect_ratio: str) -> float:
    across, down = (int(part) for part in aspect_ratio.split(":"))
    if not across or not down:
        raise refused("aspect_ratio", f"aspect_ratio {aspect_ratio}: both parts must be positive, such as 16:9")
    return across / down


def _near(side: float, step: int) -> int:
    return max(step, round(side / step) * step)


def _most_tokens(card: ModelCard, branches: int, beside: int) -> int:
    """Tokens that a clip may have."""
    return min(card.max_tokens, (card.token_budget - beside) // branches)


def _check_tokens(request: CreateVideo, card: ModelCard, shape: PixelShape, grid: TokenGrid, limit: int) -> None:
    """Refuse at the door what no batch would ever hold, and sides beyond the positions that the model knows."""
    per_frame, most = grid.height * grid.width, card.max_side_tokens
    if max(grid.height, grid.width) > most:
        longest_side = most * card.size_multiple
        message = f"size {shape.width}x{shape.height}: this model takes sides of at most {longest_side} pixels"
        raise refused("size", message, "too_large")
    asked = f"{shape.width}x{shape.height} for {shape.frames} frames is {grid.num_tokens} tokens, the limit is {limit}"
    if per_frame > limit:
        largest = min(math.isqrt(limit), most) * card.size_multiple
        raise refused("size", f"{asked}: one frame alone is {per_frame}; use at most {largest}x{largest}", "too_large")
    most_frames = min(limit // per_frame, most)
    if grid.frames <= most_frames:
        return
    longest = (most_frames * card.patch[0] - 1) * card.frame_multiple + 1
    by_seconds = request.seconds is not None and request.num_frames is None
    raise refused(
        "seconds" if by_seconds else "num_frames",
        f"{asked}: at this size use num_frames of at most {longest}, or a smaller size",
        "too_long",
    )
