"""A scene as pixels: anti-aliased objects over a textured background, exact in float and rounded once."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.shapes import PixelShape
from sora_core.world.paths import Body, Camera, camera_of, lay_out
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
    "stone": Ground((0.55, 0.55, 0.57), ((9, 14, 0.09), (3, 3, 0.04))),
    "night": Ground((0.07, 0.07, 0.11), ((5, 5, 0.20), (30, 30, 0.15))),
    "clay": Ground((0.60, 0.36, 0.28), ((3, 20, 0.07), (16, 16, 0.06))),
}
assert tuple(GROUNDS) == BACKGROUNDS

POST = 0.6
"""What an object hides behind, in the ground's colour: how bright. Darker ones would be read as objects over snow."""
POST_WIDTH = 0.18
"""Of the side along which the object moves."""


def render(scene: Scene) -> NDArray[np.uint8]:
    """The clip as (t, h, w, 3); the same scene always has the same pixels."""
    rng = np.random.default_rng(scene.seed)
    size, attributes = scene.size, scene.attributes
    camera = camera_of(scene)
    layout = lay_out(rng, scene, camera)
    pixels = _ground(rng, GROUNDS[attributes.background], size, camera)
    colours = {}
    for body in layout.bodies:
        if body.colour not in colours:
            colours[body.colour] = _colour(rng, body.colour)
        cover = np.clip(0.5 - _distance(body, size), 0, 1)[..., None]
        pixels = pixels + cover * (colours[body.colour] - pixels)
    if attributes.event == "hides":
        pixels = _with_post(pixels, layout.along, GROUNDS[attributes.background])
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, name: str) -> Floats:
    hue = COLOURS.index(name) * 360 / len(COLOURS) + rng.uniform(-7, 7)
    hsv = np.array([[[hue % 360, rng.uniform(0.86, 1), rng.uniform(0.84, 1)]]], np.float32)
    colour: Floats = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return colour


def _with_post(pixels: Floats, along: int, ground: Ground) -> Floats:
    """The clip with a post across the way of its object."""
    sides = pixels.shape[1:3]
    low, high = (round(sides[along] * (0.5 + side * POST_WIDTH / 2)) for side in (-1, 1))
    out = pixels.copy()
    where = (slice(None), slice(low, high)) if along == 0 else (slice(None), slice(None), slice(low, high))
    out[where] = POST * np.array(ground.colour, np.float32)
    return out


def _ground(rng: np.random.Generator, ground: Ground, size: PixelShape, camera: Camera) -> Floats:
    """(t or 1, h, w, 3): the mean colour, brightened and darkened by smooth noise at each of its scales."""
    room = camera.room()
    height, width = size.height + 2 * room, size.width + 2 * room
    light = np.full((height, width), rng.uniform(0.95, 1.05), np.float32)
    for cell_height, cell_width, strength in ground.texture:
        rows, columns = int(height / cell_height) + 3, int(width / cell_width) + 3
        noise = rng.standard_normal((rows, columns)).astype(np.float32)
        place = np.array([[1 / cell_width, 0, rng.uniform(0.5, 1.5)], [0, 1 / cell_height, rng.uniform(0.5, 1.5)]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        smooth = cv2.warpAffine(noise, place, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        light += strength * smooth
    seen = camera.look(light, room, size)
    textured: Floats = seen[..., None] * np.array(ground.colour, np.float32)
    return textured


def _distance(body: Body, size: PixelShape) -> Floats:
    """(t, h, w): signed distance of each pixel's middle to the outline, in pixels, negative inside."""
    radius = body.radius[:, None, None]
    y = np.arange(size.height, dtype=np.float32)[None, :, None] + 0.5 - body.path[:, 0, None, None]
    x = np.arange(size.width, dtype=np.float32)[None, None, :] + 0.5 - body.path[:, 1, None, None]
    outside: Floats
    if body.shape == "ball":
        outside = np.hypot(y, x) - radius
    elif body.shape == "square":
        outside = np.maximum(np.abs(y), np.abs(x)) - 0.89 * radius  # about the ball's area
    elif body.shape == "ring":
        outside = np.abs(np.hypot(y, x) - 0.75 * radius) - 0.25 * radius
    else:  # An equilateral triangle on its base, the middle of its box at the path: two slanted sides and the base.
        base = 0.95 * radius
        slant = np.sqrt(np.float32(0.75)) * np.abs(x) - 0.5 * (y + base)
        outside = np.maximum(slant, y - base)
    return outside
