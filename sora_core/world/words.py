"""Captions of scenes, each in several wordings, and back: `parse` inverts them all."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from sora_core.errors import InputError
from sora_core.world.scene import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    SHAPES,
    SIZES,
    Attributes,
    Mix,
    Scene,
    Thing,
    draw_attributes,
    draw_size,
)

_FILMS = (
    ("{doing} over {ground}", 0),
    ("over {ground}, {doing}", 0),
    ("{doing} on {ground}", 1),
    ("on a background of {ground} {doing}", 2),
    ("a video in which {doing}, with {ground} behind", 1),
    ("{ground}, and in front of it {doing}", 3),
    ("the ground is {ground} and {doing}", 2),
    ("we see that {doing} on top of {ground}", 1),
)
"""What is done where, and in which verbs."""
_STILLS = (
    "{thing} over {ground}",
    "over {ground}, {thing}",
    "a photo of {thing} on {ground}",
    "on a background of {ground} {thing}",
    "{ground} with {thing} in front of it",
    "a picture: {ground}, and {thing} on it",
    "the ground is {ground} and there is {thing}",
    "we see {thing} on top of {ground}",
)
NUM_WORDINGS = len(_FILMS)
assert len(_STILLS) == NUM_WORDINGS
HELD_OUT = (6, 7)
"""Wordings that no training caption has."""

# One, more than one.
_VERBS = (
    {"still": ("stays still", "stay still"), "": ("moves {}", "move {}")},
    {"still": ("is standing still", "are standing still"), "": ("is moving to the {}", "are moving to the {}"),
     "up": ("is moving upwards", "are moving upwards"), "down": ("is moving downwards", "are moving downwards")},
    {"still": ("rests", "rest"), "": ("slides {}", "slide {}")},
    {"still": ("doesn't move", "don't move"), "": ("travels {}", "travel {}")},
)  # fmt: skip
_EVENTS = {"bounces": " and bounces back", "hides": " behind a post", "returns": " out of the picture and comes back"}
_ARTICLES = {1: "a", 2: "two", 3: "three"}
_NUMBERS = {article: count for count, article in _ARTICLES.items()}


def caption(attributes: Attributes, wording: int = 0) -> str:
    """The sentence for a scene, such as "a red ball moves left over grass"; `parse` inverts it."""
    things = [_name(attributes), *(f"a {thing.colour} {thing.shape}" for thing in attributes.others)]
    if attributes.direction is None:
        return _STILLS[wording].format(thing=" and ".join(things), ground=attributes.background)
    template, verbs = _FILMS[wording]
    directions = [attributes.direction, *(str(thing.direction) for thing in attributes.others)]
    doings = [
        f"{thing} {_verb(verbs, direction, attributes.count > 1)}"
        for thing, direction in zip(things, directions, strict=True)
    ]
    doing = " and ".join(doings) + (_EVENTS[attributes.event] if attributes.event else "")
    camera = f", the camera {attributes.camera}" if attributes.camera else ""
    return template.format(doing=doing, ground=attributes.background) + camera


def _name(attributes: Attributes) -> str:
    size = "" if attributes.size is None else f"{attributes.size} "
    plural = "s" * (attributes.count > 1)
    return f"{_ARTICLES[attributes.count]} {size}{attributes.colour} {attributes.shape}{plural}"


def _verb(verbs: int, direction: str, plural: bool) -> str:
    forms = _VERBS[verbs]
    return forms.get(direction, forms[""])[plural].format(direction)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """A pattern for each wording of films, then of stills; the verbs and things in them are read after."""
    thing = rf"(?:{'|'.join(_NUMBERS)}) (?:(?:{'|'.join(SIZES)}) )?(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})s?"
    ground = rf"(?P<ground>{'|'.join(BACKGROUNDS)})"
    events = "|".join(map(re.escape, _EVENTS.values()))
    camera = rf"(?:, the camera (?P<camera>{'|'.join(CAMERAS)}))?"
    found = []
    for template, verbs in _FILMS:
        spoken = "|".join(re.escape(_verb(verbs, way, plural)) for way in DIRECTIONS for plural in (False, True))
        one = rf"{thing} (?:{spoken})"
        doing = rf"(?P<doing>{one}(?: and {one})*)(?P<event>{events})?"
        found.append(
            re.compile(re.escape(template).replace(r"\{doing\}", doing).replace(r"\{ground\}", ground) + camera)
        )
    for still in _STILLS:
        things = rf"(?P<doing>{thing}(?: and {thing})*)"
        found.append(re.compile(re.escape(still).replace(r"\{thing\}", things).replace(r"\{ground\}", ground)))
    return tuple(found)


_THING = re.compile(
    rf"(?P<number>{'|'.join(_NUMBERS)}) (?:(?P<size>{'|'.join(SIZES)}) )?(?P<colour>{'|'.join(COLOURS)}) "
    rf"(?P<shape>{'|'.join(SHAPES)})s?(?: (?P<verb>.+?))??(?= and (?:{'|'.join(_NUMBERS)}) |$)"
)


def parse(text: str) -> Attributes:
    """The attributes that a caption names. InputError when it isn't a sentence of this world."""
    for number, pattern in enumerate(_patterns()):
        if match := pattern.fullmatch(text):
            wording = number % NUM_WORDINGS
            verbs = _FILMS[wording][1] if number < NUM_WORDINGS else None
            found = _attributes(match, verbs)
            if found is not None and caption(found, wording) == text:
                return found
    raise InputError(
        f"{text!r} is no caption of the controlled world: write one like 'a red ball moves left over grass'"
    )


def _attributes(match: re.Match[str], verbs: int | None) -> Attributes | None:
    named = match.groupdict()
    things = list(_THING.finditer(named["doing"]))
    directions = [None if verbs is None else _direction(thing["verb"], verbs) for thing in things]
    event = next((event for event, words in _EVENTS.items() if words == named.get("event")), None)
    first, *rest = things
    try:
        return Attributes(
            first["colour"],
            first["shape"],
            named["ground"],
            directions[0],
            _NUMBERS[first["number"]],
            first["size"],
            event,
            named.get("camera"),
            tuple(
                Thing(thing["colour"], thing["shape"], direction)
                for thing, direction in zip(rest, directions[1:], strict=True)
            ),
        )
    except InputError:
        return None


def _direction(verb: str | None, verbs: int) -> str | None:
    spoken = {_verb(verbs, way, plural): way for way in DIRECTIONS for plural in (False, True)}
    return spoken.get(verb or "")


def swapped(text: str) -> Iterator[tuple[str, str]]:
    """(attribute, the caption with another value of it) for each attribute that a caption of the world names."""
    attributes = parse(text)
    wording = next(number for number in range(NUM_WORDINGS) if caption(attributes, number) == text)
    rng = np.random.default_rng(sum(text.encode()))
    for name, values in (
        ("colour", COLOURS),
        ("shape", SHAPES),
        ("background", BACKGROUNDS),
        ("direction", DIRECTIONS),
    ):
        now = getattr(attributes, name)
        taken = {now, *(thing.colour for thing in attributes.others)} if name == "colour" else {now}
        if now is None or (name == "direction" and (attributes.camera or attributes.event)):
            continue
        other: dict[str, Any] = {name: str(rng.choice([value for value in values if value not in taken]))}
        yield name, caption(replace(attributes, **other), wording)


def sample(mix: Mix, seed: int, *, unseen: bool = False) -> Scene:
    """The scene of a seed: of a combination met in training, or with ``unseen`` of one that is held out."""
    rng = np.random.default_rng(seed)
    size = draw_size(rng, mix)
    attributes = draw_attributes(rng, mix, size.frames, unseen)
    return Scene(attributes, size, int(rng.integers(2**31)), _wording(rng, mix))


def _wording(rng: np.random.Generator, mix: Mix) -> int:
    if mix.wording == "first":
        return 0
    known = [number for number in range(NUM_WORDINGS) if (number in HELD_OUT) == (mix.wording == "held out")]
    if mix.wording == "trained" and rng.random() < 0.5:
        return 0
    return int(rng.choice(known))
