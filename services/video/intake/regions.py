"""What of a video is to be painted anew: boxes, masks and bars as regions of the film."""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from services.video.edit_schemas import Box
from services.video.errors import refused
from services.video.intake.sources import Clip
from sora_core.edits import Region, mask_region
from sora_core.errors import InputError
from sora_core.shapes import Fit, PixelShape

# A bar is darker than this in every frame looked at; encoders leave black a little above 0.
_BLACK = 24
_LOOKED_AT = 16


def of_box(box: Box, clip: Clip) -> Region:
    """A box of the source's pixels and seconds on the film. ApiError 400 when it lies outside."""
    fit, shape = clip.fit, clip.shape
    down, across = fit.scaled_height / clip.height, fit.scaled_width / clip.width
    cut_top, cut_left = (fit.scaled_height - fit.height) // 2, (fit.scaled_width - fit.width) // 2
    top, bottom = _within(box.y * down - cut_top, (box.y + box.height) * down - cut_top, shape.height)
    left, right = _within(box.x * across - cut_left, (box.x + box.width) * across - cut_left, shape.width)
    end_s = math.inf if box.end_s is None else box.end_s
    start, stop = _within((box.start_s - clip.start_s) * clip.fps, (end_s - clip.start_s) * clip.fps, shape.frames)
    if top >= bottom or left >= right or start >= stop:
        seconds = f"{clip.start_s:g} to {clip.start_s + shape.frames / clip.fps:g} s"
        message = f"{box.model_dump()} lies outside the source: {clip.width}x{clip.height}, {seconds}"
        raise refused("boxes", message)
    return Region(start, stop, top, left, bottom - top, right - left)


def _within(low: float, high: float, length: int) -> tuple[int, int]:
    return math.floor(min(max(low, 0), length)), math.ceil(min(max(high, 0), length))


def of_mask(mask: UInt8[np.ndarray, "t h w 3"], film: PixelShape) -> tuple[Region, ...]:
    """The box around what is white; a still mask holds for all frames. ApiError 400 for a black one."""
    try:
        found = mask_region(mask)
    except InputError as error:
        raise refused("mask", str(error)) from error
    start, stop = (found.start, found.stop) if len(mask) > 1 else (0, film.frames)
    return (Region(start, stop, found.top, found.left, found.height, found.width),)


def of_bars(frames: UInt8[np.ndarray, "t h w 3"]) -> list[Region]:
    """The rows and columns at the edges that are black in all frames. ApiError 400 when there are none."""
    count, height, width, _ = frames.shape
    chosen = np.unique(np.linspace(0, count - 1, _LOOKED_AT).astype(int))
    lightest = np.max([frames[index].max(axis=2) for index in chosen], axis=0)
    rows, columns = (np.flatnonzero(lightest.max(axis=axis) >= _BLACK) for axis in (1, 0))
    if not len(rows):
        raise refused("remove_bars", "the video is black all over")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    bars = [
        Region(0, count, 0, 0, top, width),
        Region(0, count, bottom, 0, height - bottom, width),
        Region(0, count, 0, 0, height, left),
        Region(0, count, 0, right, height, width - right),
    ]
    found = [bar for bar in bars if bar.height and bar.width]
    if not found:
        raise refused("remove_bars", "the video has no black bars: give boxes for what shall go")
    return found


def fitted(
    picture: UInt8[np.ndarray, "h w 3"], fit: Fit, resampling: Image.Resampling = Image.Resampling.BOX
) -> UInt8[np.ndarray, "i j 3"]:
    """A mask, or a picture, on the way of its video's pixels; one of the right size stays as it is."""
    height, width = picture.shape[:2]
    down, across = height / fit.scaled_height, width / fit.scaled_width
    top, left = (fit.scaled_height - fit.height) // 2 * down, (fit.scaled_width - fit.width) // 2 * across
    # Only what is kept is scaled: a thin strip that is to cover a square would grow to gigabytes.
    box = (left, top, min(width, left + fit.width * across), min(height, top + fit.height * down))
    return np.asarray(Image.fromarray(picture).resize((fit.width, fit.height), resampling, box))
