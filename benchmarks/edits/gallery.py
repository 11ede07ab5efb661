"""A contact sheet and an mp4 of every edit, of the controlled world and of real footage that the model never saw.

``make gallery`` writes ``docs/gallery/<edit>.{jpg,mp4}`` with the model of ``benchmarks.edits.model``. A frame with an
orange border is new, one with a grey border the source's own; where only a part is new, the part has the border.
"""

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.edits.footage import read
from benchmarks.edits.model import load
from benchmarks.scaling.clips import FPS
from benchmarks.scaling.judge import NUM_STEPS
from sora_core import media
from sora_core.edits import (
    Clip,
    Edit,
    Extend,
    Interpolate,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
)
from sora_core.pipeline import edit
from sora_core.precision import autocast, fast_dtype
from sora_core.shapes import PixelShape
from sora_core.world.render import render
from sora_core.world.scene import Scene
from sora_core.world.words import parse

FOLDER = Path("docs/gallery")
NEW, OWN = (255, 140, 0), (150, 150, 150)
_SCALE = 1.5
_COLUMNS = 11
_SHAPE = PixelShape(17, 64, 64)
_LONG = PixelShape(33, 64, 64)


@dataclass(frozen=True, slots=True)
class Piece:
    """An edit to show: its sources, the first frame of the sources in the film, and what shows its subject."""

    name: str
    asked: Edit
    sources: list[Clip]
    prompt: str
    at: int = 0
    reference: Clip | None = None


def scene(prompt: str, seed: int, shape: PixelShape = _SHAPE) -> Clip:
    """The world's own clip of a caption."""
    return render(Scene(parse(prompt), shape, seed))


def pieces() -> Iterator[Piece]:
    """What the gallery shows, edits of one name on one sheet."""
    ball, square, ring = (
        "a red ball moves right over grass", "a blue square moves left over snow", "a green ring stays still over sand",
    )  # fmt: skip
    long, b, still = scene(ball, 4, _LONG), scene(square, 5), scene(ring, 6)
    a = long[:17]
    toy, bottles, street = (read(name)[:17] for name in ("fx_lego.webm", "in_bottles.mp4", "mp_chaplin.mp4"))
    for name, indices in (("image-to-video", (0,)), ("first-and-last-frame", (0, 16))):
        for clip, prompt in ((a, ball), (toy, "")):
            stills = [clip[index : index + 1] for index in indices]
            yield Piece(name, Keyframes(indices, PixelShape(17, *clip.shape[1:3])), stills, prompt)
    for clip, prompt in ((a, ball), (toy, ""), (bottles, "")):
        yield Piece("extend", Extend(16), [clip], prompt)
    for clip, prompt in ((long[16:], ball), (street, "")):
        yield Piece("extend-backward", Extend(17, "backward"), [clip], prompt, at=17)
    for clip, prompt in ((a, ball), (toy, "")):
        yield Piece("loop", Loop(8), [clip], prompt)
    yield Piece("loop", Loop(8, _SHAPE), [], square)
    yield Piece("transition", Transition(8), [a, b], ball)
    yield Piece("transition", Transition(8), [toy, bottles], "")
    for clip, prompt in ((a, ball), (toy, "")):
        yield Piece("interpolate", Interpolate(2, 0.1), [clip[::2]], prompt)
    yield Piece("restyle", Restyle(0.7), [a], "a magenta ball moves right over water")
    yield Piece("restyle", Restyle(0.3), [toy], "")
    box = Region(0, 17, 10, 16, 36, 38)
    yield Piece("repaint", Repaint((box,)), [still], "a magenta square stays still over sand")
    yield Piece("repaint", Repaint((Region(4, 17, 16, 48, 32, 24),)), [toy], "")
    for shown, prompt in ((b, "Bomila moves up over sand"), (a[:1], "Tarusi moves left over water")):
        yield Piece("character", Keyframes((), _SHAPE), [], prompt, reference=shown)
    yield Piece("outpaint", Outpaint(64, 96, 0, 16), [still], ring)
    yield Piece("outpaint", Outpaint(64, toy.shape[2], 0, 0), [toy], "")


def labelled(piece: Piece, film: Clip) -> Clip:
    """Some frames in a row, each with its border."""
    places = np.linspace(0, len(film) - 1, min(len(film), _COLUMNS)).round().astype(int)
    frames = [_bordered(piece, film[place], int(place)) for place in places]
    return np.concatenate(frames, axis=1)


def _bordered(piece: Piece, frame: np.ndarray, place: int) -> np.ndarray:
    large = cv2.resize(frame, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)
    asked, own = piece.asked, _is_own(piece, place)
    bordered: np.ndarray = cv2.copyMakeBorder(large, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=OWN if own else NEW)
    box = asked.regions[0] if isinstance(asked, Repaint) else None
    if box is not None and box.start <= place < box.stop:
        _frame(bordered, box.top, box.left, box.height, box.width, NEW)
    if isinstance(asked, Outpaint):
        _frame(bordered, asked.top, asked.left, *piece.sources[0].shape[1:3], OWN)
    return cv2.copyMakeBorder(bordered, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _frame(image: np.ndarray, top: int, left: int, height: int, width: int, colour: tuple[int, int, int]) -> None:
    corners = [(left, top), (left + width, top + height)]
    begin, end = ((round(x * _SCALE) + 3, round(y * _SCALE) + 3) for x, y in corners)
    cv2.rectangle(image, begin, end, colour, 1)


def _is_own(piece: Piece, place: int) -> bool:
    """Whether a frame of the film is the source's own, whole."""
    asked = piece.asked
    if isinstance(asked, Keyframes):
        return place in asked.indices
    if isinstance(asked, Interpolate):
        return place % asked.factor == 0
    if isinstance(asked, Restyle | Outpaint) or not piece.sources:
        return False
    if isinstance(asked, Transition):
        first = len(piece.sources[0])
        return place < first or place >= first + asked.num_frames
    return piece.at <= place < piece.at + len(piece.sources[0])


def sheet(shown: list[tuple[Piece, Clip]]) -> np.ndarray:
    """For every piece its prompt, its source where the film doesn't hold it, and the film."""
    rows = []
    for piece, film in shown:
        rows.append(_words(f"prompt: {piece.prompt or 'none'}", film.shape[2]))
        apart = piece.sources[0] if isinstance(piece.asked, Restyle | Repaint) else piece.reference
        if apart is not None:
            rows.append(labelled(Piece("", Extend(1), [apart], ""), apart))
        rows.append(labelled(piece, film))
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )


def _words(text: str, width: int) -> np.ndarray:
    strip = np.full((18, max(600, width), 3), 255, np.uint8)
    cv2.putText(strip, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return strip


def write(name: str, shown: list[tuple[Piece, Clip]]) -> None:
    """The sheet, and the first film as mp4; a loop is shown three times."""
    media.write_image(FOLDER / f"{name}.jpg", sheet(shown))
    film = np.concatenate([shown[0][1]] * (3 if name == "loop" else 1))
    large = film.repeat(4, axis=1).repeat(4, axis=2)
    media.encode_mp4(FOLDER / f"{name}.mp4", large, 2 * FPS if name == "interpolate" else FPS, crf=26)


def make(run: Callable[[Piece, int], Clip]) -> None:
    """All sheets and films."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shown: dict[str, list[tuple[Piece, Clip]]] = {}
    for number, piece in enumerate(pieces()):
        shown.setdefault(piece.name, []).append((piece, run(piece, number)))
    for name, items in shown.items():
        write(name, items)
        logging.info("%s", FOLDER / f"{name}.jpg")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    pipe = load()

    def run(piece: Piece, seed: int) -> Clip:
        return edit(
            pipe, piece.asked, piece.sources, piece.prompt, num_inference_steps=NUM_STEPS, seed=seed,
            reference=piece.reference,
        )  # fmt: skip

    with autocast("cpu", fast_dtype("cpu")):
        make(run)


if __name__ == "__main__":
    main()
