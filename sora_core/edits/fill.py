"""Arithmetic on frames with holes: what stands in for unknown pixels, and what hides a seam."""

import cv2
import numpy as np
from einops import reduce
from jaxtyping import Bool, Float32, Int, UInt8

Frames = UInt8[np.ndarray, "t h w 3"]
Mask = Bool[np.ndarray, "t h w"]

FADE_PIXELS = 8
"""How far the autoencoder's error at a kept pixel is still taken from its new neighbours."""

FADE_FRAMES = 16
"""The same in time, for pixels that haven't changed meanwhile."""

CHANGE = 48
"""The change of a pixel, of 255, at which nothing is taken from its past: a thing that moved away leaves no ghost."""


_BY_FRAME = "t h w -> t"


def fill(frames: Frames, seen: Mask) -> None:
    """Give every pixel that isn't ``seen`` the nearest one that is: in its own frame, else blended from the frames
    before and after. Nothing happens where nothing is seen at all."""
    some, whole = reduce(seen, _BY_FRAME, "any"), reduce(seen, _BY_FRAME, "all")
    for number in np.flatnonzero(some & ~whole):
        rows, columns, _ = _nearest(seen[number])
        frames[number] = frames[number][rows, columns]
    there = np.flatnonzero(some)
    if not len(there):
        return
    for number in np.flatnonzero(~some):
        before, after = _neighbours(there, int(number))
        part = 0.0 if before == after else (number - before) / (after - before)
        blend = frames[before] * np.float32(1 - part) + frames[after] * np.float32(part)
        frames[number] = blend.round().astype(np.uint8)


def fade_out(frames: Frames, kept: Mask, decoded: Frames) -> Frames:
    """``decoded`` with the error that it has at the nearest kept pixels taken away, the less the farther they are."""
    some, whole = reduce(kept, _BY_FRAME, "any"), reduce(kept, _BY_FRAME, "all")
    there = np.flatnonzero(whole)
    result = decoded.copy()
    for number in np.flatnonzero(~whole):
        error: Float32[np.ndarray, "h w 3"] | None = None
        if some[number]:
            rows, columns, distance = _nearest(kept[number])
            weight = (1 - distance / FADE_PIXELS).clip(0)[..., None]
            error = weight * (frames[number].astype(np.float32) - decoded[number])[rows, columns]
        elif len(there):
            error = _error_in_time(frames, decoded, there, int(number))
        if error is not None:
            result[number] = (decoded[number] + error).round().clip(0, 255).astype(np.uint8)
    return result


def _error_in_time(
    frames: Frames, decoded: Frames, there: Int[np.ndarray, " n"], number: int
) -> Float32[np.ndarray, "h w 3"] | None:
    """The errors of the kept frames before and after, by their nearness, where the picture hasn't changed since."""
    now = decoded[number].astype(np.float32)
    errors, total = np.zeros_like(now), np.zeros_like(now[..., :1])
    for place in {place for place in _neighbours(there, number) if abs(number - place) <= FADE_FRAMES}:
        then = decoded[place].astype(np.float32)
        alike = (1 - np.abs(now - then).max(axis=-1, keepdims=True) / CHANGE).clip(0)
        weight = alike * np.float32(1 - abs(number - place) / (FADE_FRAMES + 1))
        errors += weight * (frames[place] - then)
        total += weight
    return errors / np.maximum(1, total) if total.any() else None


def _neighbours(there: Int[np.ndarray, " n"], number: int) -> tuple[int, int]:
    """Those of the places nearest before and after a number; twice the same at the ends."""
    after = int(np.searchsorted(there, number))
    return int(there[max(0, after - 1)]), int(there[min(after, len(there) - 1)])


def _nearest(
    seen: Bool[np.ndarray, "h w"],
) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Row and column of the nearest seen pixel, and how far it is."""
    distance, labels = cv2.distanceTransformWithLabels(
        (~seen).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros((labels.max() + 1, 2), np.intp)
    places[labels[seen]] = np.argwhere(seen)
    return places[labels, 0], places[labels, 1], distance.astype(np.float32)
