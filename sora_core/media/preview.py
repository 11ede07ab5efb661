"""Small pictures of clips for people to look at."""

import io
import math
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_QUALITY = 80


def write_thumbnail(path: Path | str, frame: np.ndarray, max_side: int = 640) -> None:
    """Save one uint8 ``(h, w, 3)`` frame as WebP, scaled down to ``max_side``."""
    Path(path).write_bytes(to_webp([frame], max_side=max_side))


def to_webp(frames: list[np.ndarray], *, max_side: int, fps: float = 8.0) -> bytes:
    """Frames as a WebP: a still for one, an endless animation for several."""
    pictures = [Image.fromarray(_shrunk(frame, max_side)) for frame in frames]
    buffer = io.BytesIO()
    duration_ms = round(1000 / fps)
    pictures[0].save(
        buffer, "WEBP", quality=_QUALITY, save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0
    )
    return buffer.getvalue()


def _shrunk(frame: np.ndarray, max_side: int) -> np.ndarray:
    scale = min(1.0, max_side / max(frame.shape[:2]))
    if scale == 1.0:
        return frame
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    resized: np.ndarray = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return resized


def contact_sheet(frames: np.ndarray, columns: int = 6) -> np.ndarray:
    """Frames ``(t, h, w, 3)`` side by side, row by row, as one uint8 ``(H, W, 3)``; empty places are black."""
    num_frames, height, width, channels = frames.shape
    rows = math.ceil(num_frames / columns)
    sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
    sheet[:num_frames] = frames
    grid = sheet.reshape(rows, columns, height, width, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def write_image(path: Path | str, frame: np.ndarray) -> None:
    """Save uint8 ``(h, w, 3)`` as the kind of picture that the path's suffix names."""
    Image.fromarray(frame).save(path)
