"""Frames -> what they show, measured by classical vision. What can't be told is None, never a guess."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.world.render import GROUNDS
from sora_core.world.scene import COLOURS, SHAPES, Attributes

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

MIN_SATURATION, MIN_VALUE = 0.66, 0.55
"""Objects are brighter and purer than every background."""

STILL = 0.10
"""A drift below this many sides of the picture is none."""

_TEMPLATE = 32  # pixels a side of the box in which outlines are compared
_MIN_OBJECT = 0.012  # of the short side squared: anything smaller is speckle
_MAX_OBJECT = 0.40  # of the picture: anything larger is no object
_MIN_PART = 0.35  # a component smaller than this share of the largest one is no further object


@dataclass(frozen=True, slots=True)
class Reading:
    """The attributes seen in a clip; None where it can't be told, and ``direction`` of a photograph."""

    colour: str | None
    shape: str | None
    background: str | None
    direction: str | None
    count: int | None


@dataclass(frozen=True, slots=True)
class _Object:
    """One connected patch of pure colour: its mask within its own box, and the (row, column) of its centroid."""

    mask: Mask
    centroid: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A clip taken apart: pixels in 0..1 and their hues, which are of a pure colour, which lie inside objects, the
    objects of each frame, and the ground's mean colour."""

    video: Floats
    hues: Floats
    pure: Mask
    inside: Mask
    objects: list[list[_Object]]
    ground: Floats | None

    def part(self, frames: NDArray[np.integer]) -> "Looked":
        """Some of its frames."""
        chosen = [self.objects[frame] for frame in frames]
        return Looked(
            self.video[frames], self.hues[frames], self.pure[frames], self.inside[frames], chosen, self.ground
        )


def read(frames: NDArray[np.uint8]) -> Reading:
    """Measure a clip (t, h, w, 3)."""
    return read_from(look(frames))


def look(frames: NDArray[np.uint8]) -> Looked:
    """Take a clip (t, h, w, 3) apart."""
    video: Floats = frames.astype(np.float32) / np.float32(255)
    hsv = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in video])
    pure = (hsv[..., 1] > MIN_SATURATION) & (hsv[..., 2] > MIN_VALUE)
    seen = sum(bool(_objects(mask)) for mask in pure) > len(frames) / 2
    ground = _ground_colour(video, pure)
    inside = _inside(video, pure, ground) if seen and ground is not None else np.zeros_like(pure)
    return Looked(video, hsv[..., 0], pure, inside, [_objects(mask) for mask in inside], ground)


def only(looked: Looked, colour: str) -> Looked:
    """A clip as if pixels of other pure colours were ground."""
    sector = 360 / len(COLOURS)
    own = looked.pure & (np.round(looked.hues / sector).astype(int) % len(COLOURS) == COLOURS.index(colour))
    kernel = np.ones((3, 3), np.uint8)
    near = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in own]).astype(bool)
    inside = np.zeros_like(own)
    if looked.ground is not None and own.any():
        inside = near & _inside(looked.video, own, looked.ground)
    return Looked(looked.video, looked.hues, own, inside, [_objects(mask) for mask in inside], looked.ground)


def read_from(looked: Looked) -> Reading:
    """The attributes of objects that are alike."""
    objects, frames = looked.objects, len(looked.video)
    seen = sum(map(bool, objects)) > frames / 2
    return Reading(
        colour=_colour(looked.hues[looked.pure & looked.inside]) if seen else None,
        shape=_shape(objects) if seen else None,
        background=None if looked.ground is None else _background(looked.ground),
        direction=_direction(objects, looked.video.shape[1:3]) if seen and frames > 1 else None,
        count=_count(objects) if seen else None,
    )


def score(reading: Reading, truth: Attributes) -> dict[str, bool]:
    """Attribute -> whether it was read as the truth says; only attributes that the truth defines of all objects
    together (`sora_core.world.stories` measures the rest)."""
    hits = {"background": reading.background == truth.background}
    if not truth.others:
        alike = {"colour": reading.colour, "shape": reading.shape, "count": reading.count}
        hits |= {name: value == getattr(truth, name) for name, value in alike.items()}
        if truth.direction is not None and truth.event is None and truth.camera is None:
            hits["direction"] = reading.direction == truth.direction
    return hits


def _objects(mask: Mask) -> list[_Object]:
    """The large connected components of a frame's mask (h, w); none when what there is can't be an object."""
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or not _MIN_OBJECT * min(mask.shape) ** 2 <= areas.max() <= _MAX_OBJECT * mask.size:
        return []
    found = []
    for label in 1 + np.flatnonzero(areas >= _MIN_PART * areas.max()):
        x, y, width, height = stats[label, :4]
        box = labels[y : y + height, x : x + width] == label
        found.append(_Object(box, (float(centroids[label][1]), float(centroids[label][0]))))
    return found


def _colour(hues: Floats) -> str | None:
    """The name nearest to the circular mean of hues in degrees, if they agree and it lies well inside its sector."""
    mean = np.exp(1j * np.deg2rad(hues.astype(np.float64))).mean()
    sector = 360 / len(COLOURS)
    place = np.rad2deg(np.angle(mean)) % 360 / sector
    if abs(mean) < 0.8 or abs(place - round(place)) > 0.4:
        return None
    return COLOURS[round(place) % len(COLOURS)]


def _count(objects: list[list[_Object]]) -> int | None:
    """The number of objects in most frames."""
    counts = np.bincount([len(found) for found in objects if found])
    most = int(counts.argmax())
    return most if counts[most] > len(objects) / 2 else None


def _direction(objects: list[list[_Object]], sides: tuple[int, ...]) -> str | None:
    """Where the centroids drift over the clip, by a line fitted through their means; None when askew."""
    times = np.array([time for time, found in enumerate(objects) if found])
    places = np.array([np.mean([one.centroid for one in found], axis=0) for found in objects if found])
    slope = np.polyfit(times, places, 1)[0] if len(times) > 1 else np.zeros(2)
    down, right = slope * (len(objects) - 1) / np.array(sides)
    if max(abs(down), abs(right)) < STILL:
        return "still"
    if min(abs(down), abs(right)) > 0.6 * max(abs(down), abs(right)):
        return None
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"


def _shape(objects: list[list[_Object]]) -> str | None:
    """The template that overlaps best with the mean outline of all objects, if it overlaps well."""
    outlines = [_fit(one.mask) for found in objects for one in found]
    outline = np.mean(outlines, axis=0) > 0.5
    overlap = {
        name: (outline & template).sum() / max(1, (outline | template).sum()) for name, template in _templates().items()
    }
    best = max(overlap, key=lambda name: overlap[name])
    return best if overlap[best] > 0.7 else None


def _fit(mask: Mask) -> Floats:
    """A mask stretched to the template's box."""
    fitted: Floats = cv2.resize(mask.astype(np.float32), (_TEMPLATE, _TEMPLATE), interpolation=cv2.INTER_LINEAR)
    return fitted


@cache
def _templates() -> dict[str, Mask]:
    """Each shape's outline in its own box."""
    y, x = np.mgrid[0:_TEMPLATE, 0:_TEMPLATE] / (_TEMPLATE - 1) * 2 - 1
    far = np.hypot(x, y)
    inside = {
        "ball": far < 1,
        "square": np.ones_like(far, bool),
        "triangle": 2 * np.abs(x) < y + 1,
        "ring": (far < 1) & (far > 0.5),
    }
    return {name: inside[name] for name in SHAPES}


def _ground_colour(video: Floats, pure: Mask) -> Floats | None:
    """The mean RGB of what lies clear of all objects; None when they leave almost nothing."""
    kernel = np.ones((5, 5), np.uint8)
    near = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in pure]).astype(bool)
    rest = video[~near]
    if len(rest) < 0.1 * near.size:
        return None
    colour: Floats = rest.mean(axis=0)
    return colour


def _inside(video: Floats, pure: Mask, ground: Floats) -> Mask:
    """Pixels nearer to the objects' colour than to the ground's: blurred edges are cut half-way, where they belong."""
    across = np.median(video[pure], axis=0) - ground
    inside: Mask = (video - ground) @ (across / (across @ across)) > 0.5
    return inside


def _background(colour: Floats) -> str | None:
    """The ground whose mean colour is nearest, if it is near."""
    distance = {name: float(np.linalg.norm(colour - ground.colour)) for name, ground in GROUNDS.items()}
    best = min(distance, key=lambda name: distance[name])
    return best if distance[best] < 0.2 else None
