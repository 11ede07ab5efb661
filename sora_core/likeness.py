"""How alike two clips are: small pictures of their frames, laid over one another.

A clip's fingerprint is a few of its frames as small grey pictures without black bars. The mean of their lowest
frequencies is a vector by which an index finds clips that may be alike; a mirrored picture only changes the sign of
its odd columns. Whether they are is measured on the pictures: one may be a crop of the other, so it is sought inside
the other at several scales, and all frames are correlated there. The pictures' own coarse light is taken away first:
any two landscapes have a bright sky.
"""

from collections.abc import Iterable

import cv2
import numpy as np

# Side of the pictures in a fingerprint, how many it holds at most, and how many a second.
SIDE = 24
_MAX_FRAMES = 8
_PER_S = 4.0
# Kept of each frame while a file passes by, so that black bars can be cut off afterwards.
_KEPT_SIDE = 2 * SIDE
# After this many, every other one is left out.
_MAX_KEPT = 8192
_FREQUENCIES = 8
DIM = _FREQUENCIES**2
# A vector of a mirrored picture is its vector times this.
MIRRORED = np.tile(np.where(np.arange(_FREQUENCIES) % 2, -1, 1), _FREQUENCIES).astype(np.float32)
# Detail is what lies between these, in pixels: the finer doesn't survive a change of size, the coarser is light.
_FINE, _COARSE = 0.7, 3.0
# Shares of a side that a crop may have left, in both directions much alike, or of one side alone.
_SHARES = (1.0, 0.94, 0.88, 0.82, 0.76, 0.7)
_UNEVEN = 0.13
_SQUARED = (0.56, 0.63)
# The sizes to which a picture is brought when the other may be such a crop of it.
_SIZES = tuple(
    (round(SIDE / down), round(SIDE / across))
    for down, across in (
        *((a, b) for a in _SHARES for b in _SHARES if abs(a - b) < _UNEVEN or 1.0 in (a, b)),
        *((1.0, share) for share in _SQUARED),
        *((share, 1.0) for share in _SQUARED),
    )
)
# Cut off the sought picture's rim, so that it may lie half a pixel beside the grid.
_RIM = 1


class Pictures:
    """Small grey pictures of a file's frames with their times, while they pass by; their number is bounded."""

    def __init__(self, frames: Iterable[tuple[float, np.ndarray]] = ()) -> None:
        self._every_s = 1 / _PER_S
        self._kept: list[tuple[float, np.ndarray]] = []
        for time_s, frame in frames:
            if self.is_due(time_s):
                self.add(time_s, frame)

    def see(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame, uint8 ``(h, w, 3)``; it is kept when it is due."""
        if self.is_due(time_s):
            self.add(time_s, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))

    def is_due(self, time_s: float) -> bool:
        """Whether a frame of that time is to be added."""
        return not self._kept or time_s - self._kept[-1][0] >= self._every_s - 1e-6

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame that is due, uint8 luma ``(h, w)``."""
        self._kept.append((time_s, cv2.resize(frame, (_KEPT_SIDE, _KEPT_SIDE), interpolation=cv2.INTER_AREA)))
        if len(self._kept) == _MAX_KEPT:
            self._kept, self._every_s = self._kept[::2], 2 * self._every_s

    def fingerprint(self, start_s: float, end_s: float, bars: tuple[float, float, float, float]) -> bytes:
        """Of a span, between black bars (shares at top, bottom, left and right): uint8 ``(f, SIDE, SIDE)``."""
        inside = [picture for time_s, picture in self._kept if start_s <= time_s < end_s]
        if not inside:
            inside = [min(self._kept, key=lambda kept: abs(kept[0] - start_s))[1]]
        chosen = np.linspace(0, len(inside) - 1, min(_MAX_FRAMES, len(inside))).round().astype(int)
        top, bottom, left, right = (round(share * _KEPT_SIDE) for share in bars)
        rows, columns = slice(top, _KEPT_SIDE - bottom), slice(left, _KEPT_SIDE - right)
        return b"".join(
            cv2.resize(inside[i][rows, columns], (SIDE, SIDE), interpolation=cv2.INTER_AREA).tobytes() for i in chosen
        )


def opened(fingerprint: bytes) -> np.ndarray:
    """The pictures of a fingerprint, float32 ``(f, SIDE, SIDE)``."""
    return np.frombuffer(fingerprint, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)


def vector(pictures: np.ndarray) -> np.ndarray:
    """What an index is asked by: the mean of the pictures' low frequencies, of length 1 (0 of plain pictures)."""
    mean = _frequencies(pictures).mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)


def _frequencies(pictures: np.ndarray) -> np.ndarray:
    """``(f, DIM)``, each of length 1; how bright a picture is as a whole doesn't count."""
    low = np.stack([cv2.dct(picture)[:_FREQUENCIES, :_FREQUENCIES].ravel() for picture in pictures])
    low[:, 0] = 0
    return np.asarray(low / np.maximum(np.linalg.norm(low, axis=1, keepdims=True), 1e-3))


def likeness(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each of our pictures its correlation with the most similar of theirs, where these lie best over one
    another: ``(f,)``, 1 for the same."""
    first, second = divmod(int((_frequencies(ours) @ _frequencies(theirs).T).argmax()), len(theirs))
    ours, theirs = _detail(ours), _detail(theirs)
    outer = _sought(ours[first], theirs[second])
    inner = _sought(theirs[second], ours[first])
    if outer[0] >= inner[0]:
        ours = _laid(ours, *outer[1:])
    else:
        theirs = _laid(theirs, *inner[1:])
    return np.asarray((_standard(ours) @ _standard(theirs).T).max(axis=1))


def _detail(pictures: np.ndarray) -> np.ndarray:
    blurred = ([cv2.GaussianBlur(picture, (0, 0), size) for picture in pictures] for size in (_FINE, _COARSE))
    return np.stack([fine - coarse for fine, coarse in zip(*blurred, strict=True)])


def _sought(picture: np.ndarray, crop: np.ndarray) -> tuple[float, int, int, int, int]:
    """Where ``crop`` lies in ``picture``: correlation, the picture's height and width then, top and left."""
    sought = np.ascontiguousarray(crop[_RIM:-_RIM, _RIM:-_RIM])
    best = max(_found(picture, sought, height, width) for height, width in _SIZES)
    _, height, width, _, _ = best
    around = ((height + down, width + across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across)
    return max(best, *(_found(picture, sought, max(SIDE, down), max(SIDE, across)) for down, across in around))


def _found(picture: np.ndarray, sought: np.ndarray, height: int, width: int) -> tuple[float, int, int, int, int]:
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    _, value, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(scaled, sought, cv2.TM_CCOEFF_NORMED))
    return value, height, width, top, left


def _laid(pictures: np.ndarray, height: int, width: int, top: int, left: int) -> np.ndarray:
    """Pictures scaled and cut to where another one lies, with its rim as padding."""
    inside = SIDE - 2 * _RIM
    scaled = (cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR) for picture in pictures)
    return np.stack([np.pad(item[top : top + inside, left : left + inside], _RIM) for item in scaled])


def _standard(pictures: np.ndarray) -> np.ndarray:
    """As vectors of mean 0 and length 1, rims left out."""
    flat = pictures[:, _RIM:-_RIM, _RIM:-_RIM].reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3))
