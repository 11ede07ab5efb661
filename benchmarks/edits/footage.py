"""What the model of the edits is trained and judged on: scenes of the controlled world, and windows of real footage."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.scaling.clips import FPS, Footage
from sora_core import media
from sora_core.shapes import fit_area
from sora_core.world.render import render
from sora_core.world.scene import Attributes, Mix
from sora_core.world.words import caption, sample

REAL = Path("examples/footage")
HELD_OUT = ("fx_lego.webm", "oh_office_720.264", "in_bottles.mp4", "mp_chaplin.mp4")
"""Real files that the model never sees."""

WINDOW = 17
LONG = 33
AREA = 64 * 64

_SIZES = {"64x64": 0.6, "80x48": 0.2, "48x80": 0.2}
# Windows of scenes twice as long move at half the speed and begin and end anywhere, as footage does.
SHORT_MIX = Mix.parse(_SIZES, {1: 0.08, 5: 0.12, 9: 0.25, WINDOW: 0.55}, {1: 1.0})
LONG_MIX = Mix.parse(_SIZES, {LONG: 1.0}, {1: 1.0})
_STRIDE = 8
_NAMED = 3
"""One scene in so many calls its object by a name alone: what it looks like is told by a reference, or left open."""
_SYLLABLES = [first + second for first in "bdfgjklmnprstvz" for second in "aeiou"]


def new_name(rng: np.random.Generator) -> str:
    """A name that says nothing: three syllables."""
    return "".join(rng.choice(_SYLLABLES, 3)).capitalize()


def named(attributes: Attributes, called: str) -> str:
    """The caption of a scene with a name in place of its object's looks, such as "Bomila moves left over grass"."""
    return caption(attributes).replace(f"a {attributes.colour} {attributes.shape}", called)


def worlds(seed: int, count: int) -> Iterator[Footage]:
    """Scenes met in training; two in five are windows of longer ones.

    Where the object is only named, its colour and shape are the scene's subject.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        from_long = number % 5 < 2
        scene = sample(LONG_MIX if from_long else SHORT_MIX, seed * 2**32 + number)
        frames = render(scene)
        if from_long:
            start = int(rng.integers(LONG - WINDOW + 1))
            frames = frames[start : start + WINDOW]
        told, subject = caption(scene.attributes), None
        if number % _NAMED == 0:
            told = named(scene.attributes, new_name(rng))
            subject = f"{scene.attributes.colour} {scene.attributes.shape}"
        yield Footage(f"{seed}-{number}", told, frames, subject)


def real(*, held_out: bool, subjects: bool = False) -> Iterator[Footage]:
    """Windows of the real files, at the model's rate and area; of those never trained on with ``held_out``.

    With ``subjects`` windows of one file show the same one.
    """
    with (REAL / "captions.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["caption"]]
    for row in rows:
        if (row["file"] in HELD_OUT) == held_out and not row["file"].endswith(".jpg"):
            frames = read(row["file"])
            for start in range(0, len(frames) - WINDOW + 1, WINDOW if held_out else _STRIDE):
                subject = row["file"] if subjects else None
                yield Footage(f"{row['file']}-{start}", row["caption"], frames[start : start + WINDOW], subject)


def read(name: str) -> np.ndarray:
    """A real file's frames (t, h, w, 3) by the pixel rule."""
    info = media.probe(REAL / name)
    fit = fit_area(info.height, info.width, AREA)
    frames = media.decode_clip(REAL / name, fps=FPS, size=(fit.scaled_height, fit.scaled_width))
    top, left = (fit.scaled_height - fit.height) // 2, (fit.scaled_width - fit.width) // 2
    return frames[:, top : top + fit.height, left : left + fit.width]
