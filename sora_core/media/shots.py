"""Where one camera take ends and the next begins."""

from collections.abc import Iterable

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector


class ShotFinder:
    """Hard cuts found on small frames as they pass by, by PySceneDetect's adaptive detector.

    Times stay the file's own: the detector sees frame numbers, so uneven frame times can't confuse it.
    """

    def __init__(self, min_shot_frames: int = 6) -> None:
        self._detector = AdaptiveDetector(min_scene_len=min_shot_frames)
        self._times_s: list[float] = []
        self._cuts: list[int] = []

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame, uint8 RGB ``(h, w, 3)``."""
        # The rate is arbitrary: only frame numbers are read back.
        number = FrameTimecode(len(self._times_s), fps=25.0)
        found = self._detector.process_frame(number, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._times_s.append(time_s)
        self._cuts += [cut.frame_num for cut in found]

    def shots(self, frame_s: float) -> list[tuple[float, float]]:
        """``(start_s, end_s)`` of each shot; together they cover the frames, the last of which lasts ``frame_s``."""
        if not self._times_s:
            return []
        starts = [self._times_s[0], *(self._times_s[cut] for cut in self._cuts)]
        return list(zip(starts, [*starts[1:], self._times_s[-1] + frame_s], strict=True))


def detect(frames: Iterable[tuple[float, np.ndarray]], frame_s: float) -> list[tuple[float, float]]:
    """The shots of ``(time_s, frame)`` pairs, as `iter_frames` gives them."""
    finder = ShotFinder()
    for time_s, frame in frames:
        finder.add(time_s, frame)
    return finder.shots(frame_s)
