"""A scene as pixels: anti-aliased objects over a textured background, exact in float and rounded once."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.shapes import PixelShape
from sora_core.world.scene import BACKGROUNDS, COLOURS, Scene

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ground:
    """A background: its mean colour (RGB, 0..1), and cells of its texture as (height, width, strength)."""

    colour: tuple[float, float, float]
    texture: tuple[tuple[float, float, float], ...]


GROUNDS = {
    "grass": Ground((0.27, 0.42, 0.20), ((10, 3, 0.10), (20, 20, 0.06))),
    "sand": Ground((0.80, 0.68, 0.46), ((4, 4, 0.05), (24, 12, 0.07))),
    "water": Ground((0.24, 0.38, 0.50), ((4, 16, 0.10), (12, 32, 0.05))),
    "snow": Ground((0.88, 0.90, 0.93), ((28, 28, 0.06), (6, 6, 0.02))),
}
assert tuple(GROUNDS) == BACKGROUNDS

RADII = {1: (0.20, 0.27), 2: (0.15, 0.19), 3: (0.115, 0.13)}
"""Objects in the scene -> least and greatest radius of one, in short sides."""

TRAVEL = (0.35, 0.50)
"""How far an object moves over a clip, in sides of the picture."""

_REACH = 1.1  # a triangle's corners lie this many radii from the middle of its box
_STEP = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "still": (0, 0)}


def render(scene: Scene) -> NDArray[np.uint8]:
    """The clip as (t, h, w, 3); the same scene always has the same pixels."""
    rng = np.random.default_rng(scene.seed)
    size = scene.size
    radius = min(size.height, size.width) * rng.uniform(*RADII[scene.attributes.count])
    ground = _ground(rng, GROUNDS[scene.attributes.background], size)
    colour = _colour(rng, scene.attributes.colour)
    cover = np.zeros((size.frames, size.height, size.width), np.float32)
    for path in _paths(rng, scene, radius):
        distance = _distance(scene.attributes.shape, path, radius, size)
        cover = np.maximum(cover, np.clip(0.5 - distance, 0, 1))
    pixels = ground[None] + cover[..., None] * (colour - ground[None])
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, name: str) -> Floats:
    hue = COLOURS.index(name) * 360 / len(COLOURS) + rng.uniform(-7, 7)
    hsv = np.array([[[hue % 360, rng.uniform(0.86, 1), rng.uniform(0.84, 1)]]], np.float32)
    colour: Floats = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return colour


def _ground(rng: np.random.Generator, ground: Ground, size: PixelShape) -> Floats:
    """(h, w, 3): the mean colour, brightened and darkened by smooth noise at each of its scales."""
    light = np.full((size.height, size.width), rng.uniform(0.95, 1.05), np.float32)
    for cell_height, cell_width, strength in ground.texture:
        rows, columns = int(size.height / cell_height) + 3, int(size.width / cell_width) + 3
        noise = rng.standard_normal((rows, columns)).astype(np.float32)
        place = np.array([[1 / cell_width, 0, rng.uniform(0.5, 1.5)], [0, 1 / cell_height, rng.uniform(0.5, 1.5)]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        smooth = cv2.warpAffine(noise, place, (size.width, size.height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        light += strength * smooth
    textured: Floats = light[..., None] * np.array(ground.colour, np.float32)
    return textured


def _paths(rng: np.random.Generator, scene: Scene, radius: float) -> list[Floats]:
    """For each object the (t, 2) row and column of its middle; all move alike, side by side, and stay in view."""
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
    moved = np.linspace(-0.5, 0.5, size.frames, dtype=np.float32) if size.frames > 1 else np.zeros(1, np.float32)
    slack = sides[along] / 2 - reach - (travel / 2 if step.any() else 0)
    paths = []
    for index in range(count):
        middle = np.zeros(2, np.float32)
        middle[lane_axis] = (index + 0.5) * lane + rng.uniform(-freedom, freedom)
        middle[along] = sides[along] / 2 + rng.uniform(-slack, slack)
        paths.append(middle + moved[:, None] * travel * step)
    return paths


def _distance(shape: str, path: Floats, radius: float, size: PixelShape) -> Floats:
    """(t, h, w): signed distance of each pixel's middle to the outline, in pixels, negative inside."""
    y = np.arange(size.height, dtype=np.float32)[None, :, None] + 0.5 - path[:, 0, None, None]
    x = np.arange(size.width, dtype=np.float32)[None, None, :] + 0.5 - path[:, 1, None, None]
    outside: Floats
    if shape == "ball":
        outside = np.hypot(y, x) - radius
    elif shape == "square":
        outside = np.maximum(np.abs(y), np.abs(x)) - 0.89 * radius  # about the ball's area
    elif shape == "ring":
        outside = np.abs(np.hypot(y, x) - 0.75 * radius) - 0.25 * radius
    else:  # An equilateral triangle on its base, the middle of its box at the path: two slanted sides and the base.
        base = 0.95 * radius
        slant = np.sqrt(np.float32(0.75)) * np.abs(x) - 0.5 * (y + base)
        outside = np.maximum(slant, y - base)
    return outside
