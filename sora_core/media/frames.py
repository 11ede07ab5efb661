"""The frames of a file as they pass by once, each converted when it is asked for, in the size that is asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from av.video.reformatter import Interpolation

from sora_core.errors import UnreadableMedia
from sora_core.media.planes import luma_of
from sora_core.media.stream import Converter, geometry, timed_frames


class Frame(Protocol):
    """A picture and its time."""

    @property
    def time_s(self) -> float: ...

    def rgb(self, height: int) -> np.ndarray:
        """uint8 ``(h, w, 3)`` as a viewer sees it, scaled down to ``height`` (never up)."""
        ...

    def stored_luma(self) -> np.ndarray:
        """uint8 ``(h, w)`` of the stored pixels, full range, neither scaled nor turned: what the codec's blocks lie
        in."""
        ...


class SourceFrame:
    """A decoded frame of a video."""

    def __init__(self, time_s: float, frame: Any, displayed: tuple[int, int], converters: dict[int, Converter]) -> None:
        self.time_s = time_s
        self._frame = frame
        self._displayed = displayed
        self._converters = converters
        self._made: dict[int, np.ndarray] = {}

    def rgb(self, height: int) -> np.ndarray:
        if height not in self._made:
            if height not in self._converters:
                size = _scaled_down(self._displayed, height)
                self._converters[height] = Converter(size, Interpolation.FAST_BILINEAR)
            self._made[height] = self._converters[height](self._frame)
        return self._made[height]

    def stored_luma(self) -> np.ndarray:
        return luma_of(self._frame)


class StillFrame:
    """A frame that lies in memory, uint8 RGB ``(h, w, 3)``."""

    def __init__(self, time_s: float, pixels: np.ndarray) -> None:
        self.time_s = time_s
        self._pixels = pixels

    def rgb(self, height: int) -> np.ndarray:
        scaled = _scaled_down((self._pixels.shape[0], self._pixels.shape[1]), height)
        if scaled == self._pixels.shape[:2]:
            return self._pixels
        small: np.ndarray = cv2.resize(self._pixels, scaled[::-1], interpolation=cv2.INTER_AREA)
        return small

    def stored_luma(self) -> np.ndarray:
        luma: np.ndarray = cv2.cvtColor(self._pixels, cv2.COLOR_RGB2GRAY)
        return luma


def _scaled_down(full: tuple[int, int], height: int) -> tuple[int, int]:
    full_height, full_width = full
    scale = min(1.0, height / full_height)
    return max(1, round(full_height * scale)), max(1, round(full_width * scale))


def source_frames(path: Path | str) -> Iterator[SourceFrame]:
    """Every frame that decodes, one at a time. UnreadableMedia when none does."""
    displayed: tuple[int, int] | None = None
    converters: dict[int, Converter] = {}
    for video, time_s, frame in timed_frames(path):
        displayed = displayed or geometry(video.stream, frame).displayed
        yield SourceFrame(time_s, frame, displayed, converters)
    if displayed is None:
        raise UnreadableMedia(f"{Path(path).name}: no frame of it decodes", reason="no_decodable_frames")


def iter_frames(path: Path | str, *, height: int) -> Iterator[tuple[float, np.ndarray]]:
    """``(time_s, uint8 (h, w, 3))`` of every frame that decodes, scaled down to ``height`` (never up).

    One frame in memory at a time. UnreadableMedia when none decodes.
    """
    return ((frame.time_s, frame.rgb(height)) for frame in source_frames(path))
