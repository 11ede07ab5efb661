"""The frames of a file as they pass by once, each converted when it is asked for, in the size that is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.sidedata.encparams import VideoEncParamsType
from av.video.reformatter import Interpolation

from sora_core.errors import UnreadableMedia
from sora_core.media.convert import Converter
from sora_core.media.planes import luma_of
from sora_core.media.probe import MediaInfo, described
from sora_core.media.stream import OpenVideo, TimedFrame, open_video


class Frame(ABC):
    """A picture and its time. What was converted once is kept with it."""

    def __init__(self, time_s: float) -> None:
        self.time_s = time_s
        self._greys: dict[int, np.ndarray] = {}

    @abstractmethod
    def rgb(self, height: int) -> np.ndarray:
        """uint8 ``(h, w, 3)`` as a viewer sees it, scaled down to ``height`` (never up)."""

    @abstractmethod
    def stored_luma(self) -> np.ndarray:
        """uint8 ``(h, w)`` of the stored pixels, full range, neither scaled nor turned: what the codec's blocks lie
        in."""

    def grey(self, height: int) -> np.ndarray:
        """uint8 ``(h, w)``: luma of `rgb`."""
        if height not in self._greys:
            self._greys[height] = cv2.cvtColor(self.rgb(height), cv2.COLOR_RGB2GRAY)
        return self._greys[height]

    def quantiser(self) -> float | None:
        """The mean quantiser of an H.264 frame's blocks, 0 to 51 (coarsest); None of what tells none."""
        return None


class SourceFrame(Frame):
    """A decoded frame of a video."""

    def __init__(
        self, time_s: float, frame: Any, displayed: tuple[int, int], converters: dict[tuple[int, int], Converter]
    ) -> None:
        super().__init__(time_s)
        self._frame = frame
        self.displayed = displayed
        self._converters = converters
        self._made: dict[int, np.ndarray] = {}

    def rgb(self, height: int) -> np.ndarray:
        if height not in self._made:
            size = _scaled_down(self.displayed, height)
            if size not in self._converters:
                self._converters[size] = Converter(size, Interpolation.FAST_BILINEAR)
            self._made[height] = self._converters[size](self._frame)
        return self._made[height]

    def stored_luma(self) -> np.ndarray:
        return luma_of(self._frame)

    def quantiser(self) -> float | None:
        said = self._frame.side_data.get("VIDEO_ENC_PARAMS")
        if said is None or said.codec_type != VideoEncParamsType.H264 or not said.nb_blocks:
            return None
        return float(said.qp_map().mean())


class StillFrame(Frame):
    """A frame that lies in memory, uint8 RGB ``(h, w, 3)``."""

    def __init__(self, time_s: float, pixels: np.ndarray) -> None:
        super().__init__(time_s)
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


@contextmanager
def play(path: Path | str) -> Iterator[tuple[MediaInfo, Iterator[SourceFrame]]]:
    """What `probe` says of a video, then each frame that decodes, one at a time. UnreadableMedia when none does."""
    with open_video(path) as video:
        frames = video.frames()
        first = next(frames, None)
        if first is None:
            raise UnreadableMedia(f"{Path(path).name}: no frame of it decodes", reason="no_decodable_frames")
        yield described(video, first[1]), _converted(video, chain([first], frames))


def _converted(video: OpenVideo, frames: Iterator[TimedFrame]) -> Iterator[SourceFrame]:
    converters: dict[tuple[int, int], Converter] = {}
    for time_s, frame in frames:
        yield SourceFrame(time_s, frame, video.displayed(frame), converters)


def iter_frames(path: Path | str, *, height: int) -> Iterator[tuple[float, np.ndarray]]:
    """``(time_s, uint8 (h, w, 3))`` of every frame that decodes, scaled down to ``height`` (never up).

    One frame in memory at a time. UnreadableMedia when none decodes.
    """
    with play(path) as (_, frames):
        yield from ((frame.time_s, frame.rgb(height)) for frame in frames)
