"""A rule-based describer: colours, light, movement of things and camera, length. It knows nothing of what is shown.

Its captions are better than none, and named as what they are: `CAPTIONER` stands in each row that has one.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

CAPTIONER = "describer"
COLOURS = ("black", "white", "grey", "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown")
# Widths of the pictures that colours are counted on.
_COUNTED_WIDTH = 64
# OpenCV's hue runs from 0 to 179: the first hue of each colour.
_HUES = ((0, "red"), (8, "orange"), (22, "yellow"), (36, "green"), (80, "turquoise"), (96, "blue"), (128, "purple"),
         (146, "pink"), (170, "red"))  # fmt: skip
# By hue: the number of its colour, and whether it is one that is brown when it is dark.
_NAMED = np.array([COLOURS.index([name for first, name in _HUES if first <= hue][-1]) for hue in range(256)], np.uint8)
_WARM = np.isin(_NAMED, [COLOURS.index(name) for name in ("red", "orange", "yellow")])
# Shares of the picture, sizes of motion in percent of the diagonal a second.
_MAIN_COLOUR, _SECOND_COLOUR = 0.25, 0.18
_SLOW, _QUICK = 2.5, 15.0
_STILL, _LIVELY = 1.0, 12.0
_DARK, _BRIGHT = 60.0, 170.0


class Movement(NamedTuple):
    """Flow between two frames, in percent of the diagonal a second: the camera's share, and what is left of things.

    ``right`` and ``down`` are where the picture moves, ``outward`` how fast its border leaves the middle, ``turn`` how
    fast it turns clockwise there; ``rest`` is the mean of what these four don't explain.
    """

    right: float
    down: float
    outward: float
    turn: float
    rest: float


def colour_shares(frame: np.ndarray) -> np.ndarray:
    """Share of a uint8 RGB frame ``(h, w, 3)`` that has each of `COLOURS`."""
    height = max(1, round(frame.shape[0] * _COUNTED_WIDTH / frame.shape[1]))
    small = cv2.resize(frame, (_COUNTED_WIDTH, height), interpolation=cv2.INTER_AREA)
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))
    found = _NAMED[hue]
    found[_WARM[hue] & (value < 150) & (saturation > 60)] = COLOURS.index("brown")
    found[saturation < 45] = COLOURS.index("grey")
    found[(saturation < 45) & (value > 215)] = COLOURS.index("white")
    found[value < 45] = COLOURS.index("black")
    return np.bincount(found.ravel(), minlength=len(COLOURS)) / found.size


def movement(flow: np.ndarray, elapsed_s: float) -> Movement:
    """What dense flow ``(h, w, 2)`` in pixels says of camera and things: a fit of shift, zoom and turn that forgives a
    minority of other motion."""
    height, width = flow.shape[:2]
    step, diagonal = max(1, min(height, width) // 24), math.hypot(height, width)
    place = _places(height, width, step)
    moved = flow[::step, ::step, 0].astype(np.float64) + 1j * flow[::step, ::step, 1]
    weight = np.ones(place.shape)
    for _ in range(4):  # iteratively reweighted least squares, towards the smallest sum of distances
        share = weight / weight.sum()
        middle, mean = (share * place).sum(), (share * moved).sum()
        away = place - middle
        spread = max(float((share * np.abs(away) ** 2).sum()), 1e-12)
        turned = (share * away.conj() * (moved - mean)).sum() / spread
        rest = np.abs(moved - mean - turned * away)
        weight = 1 / np.maximum(rest, 0.05)
    straight = mean - turned * middle
    scale = 100 / diagonal / elapsed_s
    right, down, outward, turn = (float(v) * scale for v in (straight.real, straight.imag, turned.real, turned.imag))
    return Movement(right, down, outward, turn, float(rest.mean()) * scale)


@lru_cache(maxsize=8)
def _places(height: int, width: int, step: int) -> np.ndarray:
    """Every ``step``-th pixel's place from the middle, in half diagonals, as a complex number: what moves by ``s + t *
    place`` is shifted by ``s``, grows by ``t``'s real part and turns by the other."""
    y, x = np.mgrid[0:height:step, 0:width:step]
    places: np.ndarray = ((x - width / 2) + 1j * (y - height / 2)) / (math.hypot(height, width) / 2)
    return places


def describe(
    shares: Sequence[np.ndarray], movements: Sequence[Movement], luma: float | None, seconds: float
) -> tuple[str, str]:
    """A long and a short caption of a clip from its samples; a photograph has no movements and takes no time."""
    colours = _colours(np.mean(shares, axis=0)) if len(shares) else ""
    light = _light(luma)
    kind = "photograph" if seconds == 0 else "video"
    article = "An" if (light or kind)[0] in "aeiou" else "A"
    head = f"{article} {' '.join(filter(None, (light, kind)))}{f' in {colours}' if colours else ''}"
    if seconds == 0:
        return f"{head}.", f"{head}."
    camera, things = _camera(movements), _things(movements)
    return f"{head}; {camera}; {things}; {seconds:.1f} seconds long.", f"{head}, {camera}."


def _colours(shares: np.ndarray) -> str:
    order = np.argsort(-shares, kind="stable")
    main, second = int(order[0]), int(order[1])
    if shares[main] < _MAIN_COLOUR:
        return "many colours"
    if shares[second] >= _SECOND_COLOUR:
        return f"{COLOURS[main]} and {COLOURS[second]}"
    return f"mostly {COLOURS[main]}"


def _light(luma: float | None) -> str:
    if luma is None or _DARK <= luma <= _BRIGHT:
        return ""
    return "dark" if luma < _DARK else "bright"


def _camera(movements: Sequence[Movement]) -> str:
    """The picture moves left when the camera pans right."""
    if not movements:
        return "the camera stands still"
    right, down, outward, turn = (
        float(np.median([getattr(item, name) for item in movements])) for name in ("right", "down", "outward", "turn")
    )
    said = [
        f"{verb}{_pace(size)}"
        for size, verb in (
            (right, "pans left" if right > 0 else "pans right"),
            (down, "tilts up" if down > 0 else "tilts down"),
            (outward, "moves in" if outward > 0 else "moves out"),
            (turn, "turns"),
        )
        if abs(size) >= _SLOW
    ]
    return f"the camera {' and '.join(said)}" if said else "the camera stands still"


def _pace(size: float) -> str:
    return " quickly" if abs(size) >= _QUICK else ""


def _things(movements: Sequence[Movement]) -> str:
    rest = float(np.mean([item.rest for item in movements])) if movements else 0.0
    if rest < _STILL:
        return "nothing moves"
    return "there is much movement" if rest >= _LIVELY else "there is some movement"
