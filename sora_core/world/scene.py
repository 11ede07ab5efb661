"""What a clip of the controlled world shows, its caption, and a seeded sampler of both."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sora_core.errors import InputError
from sora_core.shapes import PixelShape

T = TypeVar("T")

COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = ("ball", "square", "triangle", "ring")
DIRECTIONS = ("left", "right", "up", "down", "still")
BACKGROUNDS = ("grass", "sand", "water", "snow")
COUNTS = (1, 2, 3)

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

_ARTICLES = {1: "a", 2: "two", 3: "three"}
_NUMBERS = {article: count for count, article in _ARTICLES.items()}
_CAPTION = re.compile(
    rf"(?P<number>{'|'.join(_NUMBERS)}) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})(?P<plural>s?) "
    rf"(?:(?:moves?|stays?) (?P<direction>{'|'.join(DIRECTIONS)}) )?over (?P<background>{'|'.join(BACKGROUNDS)})"
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a caption names. ``direction`` is None in a photograph, where nothing can be seen to move."""

    colour: str
    shape: str
    background: str
    direction: str | None
    count: int = 1

    def __post_init__(self) -> None:
        for attribute, values in VOCABULARY.items():
            value = getattr(self, attribute)
            if value not in values and not (attribute == "direction" and value is None):
                raise InputError(f"{attribute} {value!r}: the controlled world knows {', '.join(map(str, values))}")


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip: what it shows, how large and long, and the seed of everything that the caption leaves open."""

    attributes: Attributes
    size: PixelShape
    seed: int

    def __post_init__(self) -> None:
        if (self.attributes.direction is None) != (self.size.frames == 1):
            raise InputError(
                f"direction {self.attributes.direction!r} with {self.size.frames} frames: "
                "a photograph (1 frame) has no direction, a longer clip needs one"
            )


def caption(attributes: Attributes) -> str:
    """The sentence for a scene, such as "a red ball moves left over grass"; `parse` inverts it."""
    plural = attributes.count > 1
    words = [_ARTICLES[attributes.count], attributes.colour, attributes.shape + "s" * plural]
    if attributes.direction is not None:
        verb = "stay" if attributes.direction == "still" else "move"
        words += [verb + "s" * (not plural), attributes.direction]
    return " ".join([*words, "over", attributes.background])


def parse(text: str) -> Attributes:
    """The attributes that a caption names. InputError when it isn't a sentence of this world."""
    if match := _CAPTION.fullmatch(text):
        count = _NUMBERS[match["number"]]
        found = Attributes(match["colour"], match["shape"], match["background"], match["direction"], count)
        if caption(found) == text:
            return found
    raise InputError(
        f"{text!r} is no caption of the controlled world: write one like 'a red ball moves left over grass'"
    )


def held_out(attributes: Attributes) -> bool:
    """Whether this combination is kept out of every training set, whatever the count.

    One in six is; each pair of values still occurs in training, so what is tested is putting known words together.
    """
    motion = 0 if attributes.direction is None else DIRECTIONS.index(attributes.direction)
    places = COLOURS.index(attributes.colour), SHAPES.index(attributes.shape), BACKGROUNDS.index(attributes.background)
    return (sum(places) + motion) % len(COLOURS) == 0


@dataclass(frozen=True, slots=True)
class Mix:
    """What a sampler draws from: a relative weight for each (height, width), number of frames and number of objects."""

    sizes: Mapping[tuple[int, int], float]
    frames: Mapping[int, float]
    counts: Mapping[int, float]

    @classmethod
    def parse(cls, sizes: Mapping[str, float], frames: Mapping[int, float], counts: Mapping[int, float]) -> "Mix":
        """The mix with sizes written as "WIDTHxHEIGHT". InputError names what the world can't draw."""
        for what, weights in (("sizes", sizes), ("frames", frames), ("counts", counts)):
            if not weights or min(weights.values()) < 0 or not sum(weights.values()):
                raise InputError(f"{what} = {dict(weights)}: give weights of 0 or more, at least one above 0")
        if unknown := sorted(set(counts) - set(COUNTS)):
            raise InputError(f"counts = {unknown}: the controlled world draws {', '.join(map(str, COUNTS))} objects")
        if min(frames) < 1:
            raise InputError(f"frames = {min(frames)}: give 1 for a photograph, more for a clip")
        return cls({_size(text): weight for text, weight in sizes.items()}, frames, counts)


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(int(match[1]), int(match[2])) < MIN_SIDE:
        raise InputError(f"size {text!r}: write WIDTHxHEIGHT with sides of {MIN_SIDE} or more, such as 64x64")
    return int(match[2]), int(match[1])


def sample(mix: Mix, seed: int, *, unseen: bool = False) -> Scene:
    """The scene of a seed: of a combination met in training, or with ``unseen`` of one that is held out."""
    rng = np.random.default_rng(seed)
    height, width = _draw(rng, mix.sizes)
    frames = _draw(rng, mix.frames)
    count = _draw(rng, mix.counts)
    while True:
        attributes = Attributes(
            colour=str(rng.choice(COLOURS)),
            shape=str(rng.choice(SHAPES)),
            background=str(rng.choice(BACKGROUNDS)),
            direction=None if frames == 1 else str(rng.choice(DIRECTIONS)),
            count=count,
        )
        if held_out(attributes) == unseen:
            return Scene(attributes, PixelShape(frames, height, width), int(rng.integers(2**31)))


def _draw(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    values, shares = list(weights), np.array(list(weights.values()))
    return values[rng.choice(len(values), p=shares / shares.sum())]
