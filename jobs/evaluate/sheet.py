"""A contact sheet of answers: each clip as a strip of film over its prompt, hits green, misses red."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jobs.evaluate.sampling import Answer, Question

_COLUMNS = 3
_FRAME = 96  # pixels of a frame's longer side on the sheet
_TEXT = 15
_GAP = 8
_GREEN, _RED, _GREY = (30, 130, 60), (200, 40, 30), (60, 60, 60)


def draw_sheet(questions: Sequence[Question], answers: Sequence[Answer]) -> bytes:
    """The sheet as PNG, row by row."""
    cells = [_cell(question, answer) for question, answer in zip(questions, answers, strict=True)]
    width = max(cell.width for cell in cells) + _GAP
    height = max(cell.height for cell in cells) + _GAP
    rows = -(-len(cells) // _COLUMNS)
    sheet = Image.new("RGB", (width * _COLUMNS + _GAP, height * rows + _GAP), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, _COLUMNS)
        sheet.paste(cell, (column * width + _GAP, row * height + _GAP))
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


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
