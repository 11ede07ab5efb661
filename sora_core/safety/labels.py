"""What a regime of law adds to a file beside the two layers: a visible label, keys of the container, disclosures."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from sora_core.errors import ConfigError

Place = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
_SMALLEST_TEXT = 8  # pixels; below it nobody reads it
_SHADE = 0.55  # of the ground behind the letters


@dataclass(frozen=True, slots=True)
class Label:
    """Words on the first ``seconds`` of a film, ``height_share`` of its shorter side high."""

    text: str
    seconds: float
    height_share: float
    place: Place


@dataclass(frozen=True, slots=True)
class Policy:
    """``metadata`` are keys of the container and ``fields`` those of the credentials; values name `facts` in braces."""

    name: str
    label: Label | None
    metadata: Mapping[str, str]
    fields: Mapping[str, str]


def policy(name: str) -> Policy:
    """A policy by the name of its file; ConfigError when there is none."""
    folder = resources.files("sora_core.safety") / "policies"
    known = sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
    if name not in known:
        raise ConfigError(f"provenance.policies: no policy {name!r}; there are {', '.join(known)}")
    values = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    label = Label(**values["label"]) if "label" in values else None
    assert label is None or label.place in get_args(Place), label
    return Policy(name, label, values.get("metadata", {}), values.get("fields", {}))


def filled(templates: Mapping[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    """Templates with the facts in their braces' place."""
    return {key: text.format_map(facts) for key, text in templates.items()}


class Labeller:
    """Writes a label on frames. ConfigError when the font lacks its characters."""

    def __init__(self, label: Label, font: str | None = None) -> None:
        self._label = label
        self._font = font
        _check_glyphs(label.text, font)

    def __call__(
        self, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The frames of a film at a rate, or a picture's one, with the label where it belongs."""
        shown = max(1, round(self._label.seconds * fps))
        for index, frame in enumerate(frames):
            yield self._written(frame) if index < shown else frame

    def _written(self, frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        height, width = frame.shape[:2]
        size = max(_SMALLEST_TEXT, round(min(height, width) * self._label.height_share))
        letters = _letters(self._label.text, size, self._font)[:height, :width]
        down = 0 if self._label.place.startswith("top") else height - letters.shape[0]
        across = 0 if self._label.place.endswith("left") else width - letters.shape[1]
        written = frame.copy()
        ground = written[down : down + letters.shape[0], across : across + letters.shape[1]]
        ground[:] = np.rint(ground * _SHADE * (1 - letters) + 255 * letters)
        return written


@lru_cache(maxsize=64)
def _letters(text: str, size: int, font: str | None) -> np.ndarray:
    """How much of each pixel the words cover ``(h, w, 1)``, with a margin."""
    face = _face(font, size)
    left, top, right, bottom = face.getbbox(text)
    margin = max(2, size // 4)
    picture = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin))
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, fill=255, font=face)
    covered: np.ndarray = np.asarray(picture, np.float32)[..., None] / 255
    return covered


def _face(font: str | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if font is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(font, size)
    except OSError as error:
        raise ConfigError(f"provenance.font {font!r} can't be read ({error}); give a TrueType file") from error


def _check_glyphs(text: str, font: str | None) -> None:
    """A character that a font lacks is drawn as that of a private code point is."""
    face = _face(font, 32)
    missing = bytes(face.getmask("\ue123"))
    lacking = [character for character in text if not character.isspace() and bytes(face.getmask(character)) == missing]
    if lacking:
        where = "the built-in font" if font is None else Path(font).name
        raise ConfigError(f"provenance.font: {where} lacks {''.join(lacking)}; give a font file with these characters")
