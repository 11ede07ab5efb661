"""What a clip shows beside objects that are alike: a size, other objects, an event, a camera that moves.

Measured like everything in `readback`; each is one of the words that a caption may have, or None.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.world import readback
from sora_core.world.readback import Floats, Looked
from sora_core.world.scene import COLOURS, Attributes, Thing

_BETWEEN_SIZES = 0.21
"""Half an outline's side, in short sides: small objects lie below, large ones above."""
_ZOOMED = 1.2
_GONE, _COVERED, _WHOLE = 0.05, 0.75, 0.92
"""Parts of an object's greatest area: out of the picture, behind something, all there."""
_PANNED = 0.12
_STIRRED = 0.05  # a ground at rest stays below it, in shares of the width
"""Drift of the ground over a clip, in widths of the picture."""


def score(frames: NDArray[np.uint8], truth: Attributes) -> dict[str, bool]:
    """Attribute -> whether a clip (t, h, w, 3) shows it as the truth says; only what the truth defines."""
    looked = readback.look(frames)
    hits = readback.score(readback.read_from(looked), truth)
    if truth.size is not None:
        hits["size"] = size(looked) == truth.size
    if truth.camera is not None:
        hits["camera"] = camera(looked) == truth.camera
    if truth.event is not None:
        hits |= _score_event(looked, truth)
    if truth.others:
        wanted = {Thing(truth.colour, truth.shape, truth.direction), *truth.others}
        found = things(looked)
        hits |= {"others": set(found) == wanted, "count": len(found) == truth.num_objects}
    return hits


def size(looked: Looked) -> str | None:
    """By the sides of the outlines."""
    sides = [sum(one.mask.shape) / 4 for found in looked.objects for one in found]
    if not sides:
        return None
    return "small" if np.median(sides) / min(looked.video.shape[1:3]) < _BETWEEN_SIZES else "large"


def things(looked: Looked) -> list[Thing]:
    """Every object by the colour that it alone has."""
    found = []
    for colour in COLOURS:
        own = readback.only(looked, colour)
        if sum(map(bool, own.objects)) > len(own.video) / 2:
            reading = readback.read_from(own)
            if reading.shape is not None:
                found.append(Thing(colour, reading.shape, reading.direction))
    return found


def camera(looked: Looked) -> str | None:
    """By the object's growth, then by the drift of the ground."""
    sides = np.array([np.mean([sum(one.mask.shape) for one in found]) if found else np.nan for found in looked.objects])
    if np.isnan(sides).all():
        return None
    third = max(1, len(sides) // 3)
    growth = np.nanmean(sides[-third:]) / np.nanmean(sides[:third])
    if max(growth, 1 / growth) > _ZOOMED:
        return "zooms in" if growth > 1 else "zooms out"
    drift = _ground_drift(looked) / looked.video.shape[2]
    if abs(drift) < _PANNED:
        return None
    return "pans left" if drift > 0 else "pans right"


def _ground_drift(looked: Looked) -> float:
    """Pixels to the right that the ground moves over the clip, by phase correlation of neighbouring frames."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in looked.video]
    kernel = np.ones((5, 5), np.uint8)
    near = [cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) for mask in looked.pure]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    freely = held = 0.0
    for (one, hole), (other, next_hole) in pairwise(zip(grey, near, strict=True)):
        both = hole | next_hole
        # A hole that goes with an object can be taken for the motion; one that stays can't, but holds it back.
        freely += cv2.phaseCorrelate(_filled(one, hole), _filled(other, next_hole), window)[0][0]
        held += cv2.phaseCorrelate(_filled(one, both), _filled(other, both), window)[0][0]
    return freely if abs(held) > _STIRRED * looked.video.shape[2] else 0.0


def _filled(picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A picture whose hole has the mean of the rest."""
    filled: NDArray[np.float32] = np.where(hole, picture[~hole].mean() if not hole.all() else 0, picture)
    return filled.astype(np.float32)


def _score_event(looked: Looked, truth: Attributes) -> dict[str, bool]:
    """The event, the way of its first half, and the shape where the object is all there."""
    areas = np.array([sum(one.mask.sum() for one in found) for found in looked.objects], np.float64)
    parts = areas / max(1.0, areas.max())
    whole = looked.part(np.flatnonzero(parts > _WHOLE))
    places = np.array([found[0].centroid if found else (np.nan, np.nan) for found in looked.objects])
    seen = np.flatnonzero(parts > _GONE)
    if len(seen) < 3:
        return {"event": False, "direction": False, "shape": False}
    return {
        "event": _event(parts, places, seen) == truth.event,
        "direction": _first_way(places, seen, looked.video.shape[1:3]) == truth.direction,
        "shape": readback.read_from(whole).shape == truth.shape,
    }


def _event(parts: Floats, places: Floats, seen: NDArray[np.integer]) -> str | None:
    inner = parts[seen[0] : seen[-1] + 1]
    back = np.abs(places[seen[-1]] - places[seen[0]]).max() < 0.5 * np.ptp(places[seen], axis=0).max()
    if back:
        return "returns" if inner.min() < _GONE else "bounces"
    return "hides" if inner.min() < _COVERED else None


def _first_way(places: Floats, seen: NDArray[np.integer], sides: tuple[int, ...]) -> str | None:
    """Where the object goes from where it is first seen to where it is farthest from there."""
    moved = (places[seen] - places[seen[0]]) / np.array(sides)
    down, right = moved[np.abs(moved).max(axis=1).argmax()]
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"
