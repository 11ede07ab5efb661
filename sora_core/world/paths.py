"""Where the objects of a scene are at each time, and what the camera does."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.shapes import PixelShape
from sora_core.world.scene import Attributes, Scene

Floats = NDArray[np.float32]

RADII = {1: (0.20, 0.27), 2: (0.15, 0.19), 3: (0.115, 0.13)}
"""Objects in the scene -> least and greatest radius of one, in short sides."""

SIZE_RADII = {"small": (0.115, 0.14), "large": (0.31, 0.34)}
"""The same where a caption names the size."""

TRAVEL = (0.35, 0.50)
"""How far an object moves over a clip, in sides of the picture."""

ZOOM = 1.6
"""How much larger everything is at the near end of a zoom."""

_REACH = 1.1  # a triangle's corners lie this many radii from the middle of its box
_STEP = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "still": (0, 0)}
_TRIES = 40  # places of several objects before they are made smaller


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One object: (t, 2) row and column of its middle, and its radius at each time, in pixels."""

    colour: str
    shape: str
    radius: Floats
    path: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All objects; ``along`` is the axis on which they move, 0 for rows."""

    bodies: tuple[Body, ...]
    along: int


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Where a point of the scene is seen: ``(point - middle) scale + middle + shift``, by time; None stands still."""

    scale: Floats | None = None
    shift: Floats | None = None

    def room(self) -> int:
        """Pixels beyond each edge that come into view."""
        return 0 if self.shift is None else int(np.ceil(np.abs(self.shift).max())) + 1

    def look(self, scene: Floats, room: int, size: PixelShape) -> Floats:
        """(t or 1, h, w): what is seen of a scene that reaches ``room`` pixels beyond the picture."""
        if self.scale is None or self.shift is None:
            return scene[None]
        middle = np.array([size.width, size.height], np.float32) / 2
        seen = []
        for scale, shift in zip(self.scale, self.shift, strict=True):
            offset = middle - (middle + shift[::-1]) / scale + room
            place = np.array([[1 / scale, 0, offset[0]], [0, 1 / scale, offset[1]]], np.float32)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen.append(
                cv2.warpAffine(scene, place, (size.width, size.height), flags=flags, borderMode=cv2.BORDER_REFLECT)
            )
        return np.stack(seen)

    def follow(self, body: Body, size: PixelShape) -> Body:
        """An object as it is seen."""
        if self.scale is None or self.shift is None:
            return body
        middle = np.array([size.height, size.width], np.float32) / 2
        path = (body.path - middle) * self.scale[:, None] + middle + self.shift
        return Body(body.colour, body.shape, body.radius * self.scale, path.astype(np.float32))


def camera_of(scene: Scene) -> Camera:
    """What the camera of a scene does: everything drifts against a pan."""
    kind, size = scene.attributes.camera, scene.size
    if kind is None:
        return Camera()
    time = np.linspace(0, 1, size.frames, dtype=np.float32)
    still = np.zeros((size.frames, 2), np.float32)
    if kind.startswith("zooms"):
        near = time if kind == "zooms in" else 1 - time
        return Camera(np.float32(ZOOM) ** near, still)
    against = 1 if kind == "pans left" else -1
    still[:, 1] = against * (time - 0.5) * size.width * sum(TRAVEL) / 2
    return Camera(np.ones(size.frames, np.float32), still)


def lay_out(rng: np.random.Generator, scene: Scene, camera: Camera) -> Layout:
    """All objects of a scene: those that are alike move side by side; all stay in view unless they are to leave it."""
    attributes, size = scene.attributes, scene.size
    short = min(size.height, size.width)
    if attributes.others:
        return Layout(tuple(_several(rng, attributes, size)), 0)
    radius = short * rng.uniform(*_radii(attributes))
    if attributes.camera is not None:
        middle = np.array([size.height, size.width], np.float32) / 2
        slack = np.maximum(0, middle / ZOOM - _REACH * radius - 1)
        if attributes.camera.startswith("pans"):
            slack = np.array([middle[0] - _REACH * radius - 1, 0.02 * size.width], np.float32)
        path = np.tile(middle + slack * rng.uniform(-1, 1, 2).astype(np.float32), (size.frames, 1))
        return Layout((camera.follow(_body(attributes, radius, path), size),), 1)
    along, paths = _alike(rng, scene, radius)
    return Layout(tuple(_body(attributes, radius, path) for path in paths), along)


def _radii(attributes: Attributes) -> tuple[float, float]:
    if attributes.size is not None:
        return SIZE_RADII[attributes.size]
    if attributes.camera is not None or attributes.event == "hides":  # room to grow; a place beside the post
        return RADII[2]
    return RADII[attributes.count]


def _body(attributes: Attributes, radius: float, path: Floats) -> Body:
    return Body(attributes.colour, attributes.shape, np.full(len(path), radius, np.float32), path)


def _alike(rng: np.random.Generator, scene: Scene, radius: float) -> tuple[int, list[Floats]]:
    """The axis on which objects of one kind move, and for each the (t, 2) row and column of its middle."""
    size, count = scene.size, scene.attributes.count
    sides = np.array([size.height, size.width], np.float32)
    step = np.array(_STEP[scene.attributes.direction or "still"], np.float32)
    if step.any():
        lane_axis = int(np.argmin(np.abs(step)))
    else:
        lane_axis = int(np.argmax(sides)) if size.height != size.width else int(rng.integers(2))
    along = 1 - lane_axis
    reach = _REACH * radius + 1
    travel = min(sides[along] * rng.uniform(*TRAVEL), sides[along] - 2 * reach)
    lane = sides[lane_axis] / count
    freedom = max(0.0, lane / 2 - reach) * (1 if count == 1 else 0.5)
    slack = sides[along] / 2 - reach - (travel / 2 if step.any() else 0)
    paths = []
    for index in range(count):
        middle = np.zeros(2, np.float32)
        middle[lane_axis] = (index + 0.5) * lane + rng.uniform(-freedom, freedom)
        middle[along] = sides[along] / 2 + rng.uniform(-slack, slack)
        if scene.attributes.event is None:
            paths.append(middle + _moved(size.frames)[:, None] * travel * step)
        else:
            paths.append(_eventful(scene, middle, step, along, reach))
    return along, paths


def _moved(frames: int) -> Floats:
    return np.linspace(-0.5, 0.5, frames, dtype=np.float32) if frames > 1 else np.zeros(1, np.float32)


def _eventful(scene: Scene, middle: Floats, step: Floats, along: int, reach: float) -> Floats:
    """To the edge and back, out of the picture and back, or from one edge to the other behind a post."""
    frames, side = scene.size.frames, (scene.size.height, scene.size.width)[along]
    time = np.linspace(0, 1, frames, dtype=np.float32)
    there_and_back = 1 - np.abs(2 * time - 1)
    if scene.attributes.event == "hides":
        moved, target, start = time, side - reach, reach
    elif scene.attributes.event == "bounces":
        moved, target, start = there_and_back, side - reach, max(reach, side - reach - 0.55 * side)
    else:
        moved, target, start = np.minimum(1, 1.3 * there_and_back), side + reach, 0.5 * side
    place = start + moved * (target - start)
    path = np.tile(middle, (frames, 1)).astype(np.float32)
    path[:, along] = place if step[along] > 0 else side - place
    return path


def _several(rng: np.random.Generator, attributes: Attributes, size: PixelShape) -> list[Body]:
    """Objects that move each in its own way and never touch."""
    things = [(attributes.colour, attributes.shape, attributes.direction)]
    things += [(thing.colour, thing.shape, thing.direction) for thing in attributes.others]
    radius = min(size.height, size.width) * rng.uniform(*RADII[len(things)])
    while True:
        for _ in range(_TRIES):
            paths = [_free_path(rng, direction, radius, size) for _, _, direction in things]
            if not _touch(paths, 2 * _REACH * radius + 2):
                radii = np.full(size.frames, radius, np.float32)
                return [Body(c, s, radii, path) for (c, s, _), path in zip(things, paths, strict=True)]
        radius *= 0.95


def _free_path(rng: np.random.Generator, direction: str | None, radius: float, size: PixelShape) -> Floats:
    sides = np.array([size.height, size.width], np.float32)
    step = np.array(_STEP[direction or "still"], np.float32)
    reach = _REACH * radius + 1
    travel = np.minimum(sides * np.float32(rng.uniform(0.28, TRAVEL[0])), sides - 2 * reach) * np.abs(step)
    slack = sides / 2 - reach - travel / 2
    middle = sides / 2 + slack * rng.uniform(-1, 1, 2).astype(np.float32)
    path: Floats = (middle + _moved(size.frames)[:, None] * travel * step).astype(np.float32)
    return path


def _touch(paths: Sequence[Floats], apart: float) -> bool:
    return any(
        bool((np.hypot(*(one - other).T) < apart).any()) for number, one in enumerate(paths) for other in paths[:number]
    )
