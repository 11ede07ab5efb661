"""What a clip of the controlled world shows, and a seeded sampler of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from sora_core.errors import InputError
from sora_core.shapes import PixelShape

T = TypeVar("T")

COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = ("ball", "square", "triangle", "ring")
DIRECTIONS = ("left", "right", "up", "down", "still")
BACKGROUNDS = ("grass", "sand", "water", "snow", "stone", "night", "clay")
COUNTS = (1, 2, 3)
SIZES = ("small", "large")
EVENTS = ("bounces", "hides", "returns")
CAMERAS = ("pans left", "pans right", "zooms in", "zooms out")

MIN_SIDE = 48
"""The shortest side in pixels at which the smallest objects are still told apart."""

VOCABULARY: Mapping[str, tuple[str | int, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "direction": DIRECTIONS,
    "background": BACKGROUNDS,
    "count": COUNTS,
}
"""Attribute -> its values; blind guessing is right once in ``len(values)``."""

_OPTIONAL: Mapping[str, tuple[str, ...]] = {"size": SIZES, "event": EVENTS, "camera": CAMERAS}


@dataclass(frozen=True, slots=True)
class Thing:
    """Another object beside the one that `Attributes` describe."""

    colour: str
    shape: str
    direction: str | None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a caption names. ``direction`` is None in a photograph, where nothing can be seen to move.

    ``count`` objects are alike; ``others`` differ from them in colour, from one and from each other. What is None
    isn't named.
    """

    colour: str
    shape: str
    background: str
    direction: str | None
    count: int = 1
    size: str | None = None
    event: str | None = None
    camera: str | None = None
    others: tuple[Thing, ...] = ()

    def __post_init__(self) -> None:
        for attribute, values in VOCABULARY.items():
            value = getattr(self, attribute)
            if value not in values and not (attribute == "direction" and value is None):
                raise InputError(f"{attribute} {value!r}: the controlled world knows {', '.join(map(str, values))}")
        for attribute, known in _OPTIONAL.items():
            value = getattr(self, attribute)
            if value is not None and value not in known:
                raise InputError(f"{attribute} {value!r}: the controlled world knows {', '.join(known)}")
        extras = [name for name in ("size", "event", "camera", "others") if getattr(self, name)]
        if extras and (self.count > 1 or len(extras) > 1):
            raise InputError(f"{', '.join(extras)} of {self.count} objects: give one of them, to a single object")
        if self.event is not None and self.direction in (None, "still"):
            raise InputError(f"event {self.event!r} with direction {self.direction!r}: what {self.event} must move")
        if self.camera is not None and self.direction != "still":
            raise InputError(f"camera {self.camera!r} with direction {self.direction!r}: give direction 'still'")
        colours = [self.colour, *(thing.colour for thing in self.others)]
        if len(set(colours)) < len(colours) or len(colours) > max(COUNTS):
            raise InputError(f"objects of {', '.join(colours)}: give up to {max(COUNTS)}, each a colour of its own")

    @property
    def num_objects(self) -> int:
        return self.count + len(self.others)


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip: what it shows, how large and long, and the seed of everything that the caption leaves open.

    ``wording`` says which of the captions of `sora_core.world.words` it has.
    """

    attributes: Attributes
    size: PixelShape
    seed: int
    wording: int = 0

    def __post_init__(self) -> None:
        if (self.attributes.direction is None) != (self.size.frames == 1):
            raise InputError(
                f"direction {self.attributes.direction!r} with {self.size.frames} frames: "
                "a photograph (1 frame) has no direction, a longer clip needs one"
            )


def held_out(attributes: Attributes) -> bool:
    """Whether this combination is kept out of every training set, whatever the count.

    One in six is; each pair of values still occurs in training, so what is tested is putting known words together.
    """
    motion = 0 if attributes.direction is None else DIRECTIONS.index(attributes.direction)
    places = COLOURS.index(attributes.colour), SHAPES.index(attributes.shape), BACKGROUNDS.index(attributes.background)
    return (sum(places) + motion) % len(COLOURS) == 0


KINDS = ("plain", "sized", "several", "event", "camera")
"""What a scene has beside objects that are alike: nothing, a size, other objects, an event, a camera that moves."""
WORDINGS = ("first", "trained", "held out")
"""Which captions: the first for all, any that training meets (the first half of the time), those kept out of it."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What a sampler draws from: a relative weight for each (height, width), number of frames, number of objects and
    kind of scene. A photograph of a kind that moves is a plain one."""

    sizes: Mapping[tuple[int, int], float]
    frames: Mapping[int, float]
    counts: Mapping[int, float]
    kinds: Mapping[str, float] = field(default_factory=lambda: {"plain": 1.0})
    wording: str = "first"

    @classmethod
    def parse(
        cls,
        sizes: Mapping[str, float],
        frames: Mapping[int, float],
        counts: Mapping[int, float],
        kinds: Mapping[str, float] | None = None,
        wording: str = "first",
    ) -> "Mix":
        """The mix with sizes written as "WIDTHxHEIGHT". InputError names what the world can't draw."""
        kinds = {"plain": 1.0} if kinds is None else kinds
        for what, weights in (("sizes", sizes), ("frames", frames), ("counts", counts), ("kinds", kinds)):
            if not weights or min(weights.values()) < 0 or not sum(weights.values()):
                raise InputError(f"{what} = {dict(weights)}: give weights of 0 or more, at least one above 0")
        if unknown := sorted(set(counts) - set(COUNTS)):
            raise InputError(f"counts = {unknown}: the controlled world draws {', '.join(map(str, COUNTS))} objects")
        if strange := sorted(set(kinds) - set(KINDS)):
            raise InputError(f"kinds = {strange}: the controlled world draws {', '.join(KINDS)}")
        if wording not in WORDINGS:
            raise InputError(f"wording = {wording!r}: choose one of {', '.join(WORDINGS)}")
        if min(frames) < 1:
            raise InputError(f"frames = {min(frames)}: give 1 for a photograph, more for a clip")
        return cls({_size(text): weight for text, weight in sizes.items()}, frames, counts, kinds, wording)


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(int(match[1]), int(match[2])) < MIN_SIDE:
        raise InputError(f"size {text!r}: write WIDTHxHEIGHT with sides of {MIN_SIDE} or more, such as 64x64")
    return int(match[2]), int(match[1])


MIN_EVENT_FRAMES = 9
"""In fewer, there and back again can't be told from a jump."""


def draw_attributes(rng: np.random.Generator, mix: Mix, frames: int, unseen: bool) -> Attributes:
    """Attributes of a combination met in training, or of one that is held out."""
    count, kind = _draw(rng, mix.counts), _draw(rng, mix.kinds) if len(mix.kinds) > 1 else next(iter(mix.kinds))
    if (kind == "camera" and frames == 1) or (kind == "event" and frames < MIN_EVENT_FRAMES):
        kind = "plain"
    while True:
        found = Attributes(
            colour=str(rng.choice(COLOURS)),
            shape=str(rng.choice(SHAPES)),
            background=str(rng.choice(BACKGROUNDS)),
            direction=None if frames == 1 else "still" if kind == "camera" else str(rng.choice(DIRECTIONS)),
            count=count if kind == "plain" else 1,
            size=str(rng.choice(SIZES)) if kind == "sized" else None,
            event=None,
            camera=str(rng.choice(CAMERAS)) if kind == "camera" else None,
            others=(),
        )
        if held_out(found) != unseen or (kind == "event" and found.direction == "still"):
            continue
        return _with_more(rng, found, kind)


def _with_more(rng: np.random.Generator, found: Attributes, kind: str) -> Attributes:
    plain = (found.colour, found.shape, found.background, found.direction)
    if kind == "event":
        return Attributes(*plain, event=str(rng.choice(EVENTS)))
    if kind != "several":
        return found
    colours = rng.permutation([colour for colour in COLOURS if colour != found.colour])
    things = [
        Thing(str(colour), str(rng.choice(SHAPES)), None if found.direction is None else str(rng.choice(DIRECTIONS)))
        for colour in colours[: int(rng.integers(1, max(COUNTS)))]
    ]
    return Attributes(*plain, others=tuple(things))


def _draw(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    values, shares = list(weights), np.array(list(weights.values()))
    return values[rng.choice(len(values), p=shares / shares.sum())]


def draw_size(rng: np.random.Generator, mix: Mix) -> PixelShape:
    """A size and a length."""
    height, width = _draw(rng, mix.sizes)
    return PixelShape(_draw(rng, mix.frames), height, width)
