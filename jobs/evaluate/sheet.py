"""Sheets of answers: each clip as a strip of film, or moving, over its prompt; hits green, misses red."""

import io
import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.evaluate.sampling import Answer, Frames, Question

_COLUMNS = 3
SIDE = 160  # pixels of a moving clip's longer side
_FRAME = 96  # of a frame's in a strip
_TEXT = 15
_LETTERS = 28  # of a line under a moving clip
_GAP = 8
_GREEN, _RED, _GREY = (30, 130, 60), (200, 40, 30), (60, 60, 60)


def draw_sheet(questions: Sequence[Question], answers: Sequence[Answer]) -> bytes:
    """The sheet as PNG, row by row."""
    cells = [_cell(question, answer) for question, answer in zip(questions, answers, strict=True)]
    data = io.BytesIO()
    _laid_out(cells).save(data, "PNG", optimize=True)
    return data.getvalue()


def draw_moving(questions: Sequence[Question], answers: Sequence[Answer], fps: float) -> bytes:
    """The clips side by side as an animated WebP; a shorter one stays on its last frame."""
    pairs = zip(questions, answers, strict=True)
    films = [(question, answer.moving) for question, answer in pairs if answer.moving is not None]
    pages = [
        _laid_out([_moment(question, film[min(time, len(film) - 1)]) for question, film in films])
        for time in range(max(len(film) for _, film in films))
    ]
    data = io.BytesIO()
    pages[0].save(
        data, "WEBP", save_all=True, append_images=pages[1:], duration=round(1000 / fps), loop=0, quality=80, method=4
    )
    return data.getvalue()


def _laid_out(cells: Sequence[Image.Image]) -> Image.Image:
    width = max(cell.width for cell in cells) + _GAP
    height = max(cell.height for cell in cells) + _GAP
    rows = -(-len(cells) // _COLUMNS)
    sheet = Image.new("RGB", (width * _COLUMNS + _GAP, height * rows + _GAP), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, _COLUMNS)
        sheet.paste(cell, (column * width + _GAP, row * height + _GAP))
    return sheet


def _moment(question: Question, frame: Frames) -> Image.Image:
    cell = Image.new("RGB", (SIDE, SIDE + 2 * _TEXT), "white")
    cell.paste(Image.fromarray(frame), ((SIDE - frame.shape[1]) // 2, (SIDE - frame.shape[0]) // 2))
    words, font = textwrap.wrap(question.prompt, _LETTERS), ImageFont.load_default(11)
    for line, text in enumerate(words[:2]):
        ImageDraw.Draw(cell).text((0, SIDE + 1 + line * _TEXT), text, _GREY, font)
    return cell


def _cell(question: Question, answer: Answer) -> Image.Image:
    scale = _FRAME / max(answer.film.shape[1:3])
    frames = [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for frame in answer.film]
    strip = Image.fromarray(np.concatenate(frames, axis=1))
    cell = Image.new("RGB", (len(frames) * _FRAME, _FRAME + 2 * _TEXT + 2), "white")
    cell.paste(strip, (0, 0))
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(11)
    draw.text((0, _FRAME + 1), question.prompt + " (unseen)" * question.unseen, _GREY, font)
    x = 0.0
    for name, hit in answer.hits.items():
        word = f"{name} {getattr(answer.reading, name) or '?'}   "
        draw.text((x, _FRAME + _TEXT), word, _GREEN if hit else _RED, font)
        x += draw.textlength(word, font)
    return cell
