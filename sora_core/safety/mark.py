"""An invisible mark: a keyed pattern in the luma that says a 48-bit id, found again without the original.

Spread spectrum (Cox et al., 1997) in the Fourier coefficients of a tile that is repeated over the picture. Some of the
coefficients are a pilot, by which a reader finds the place and scale of the tile; the others carry the chips of
`sora_core.safety.coding`. The pattern moves with the picture: where a camera pans, a video codec predicts each frame
from the one before it along the motion, and a pattern that stood still would be coded away.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Complex, Float, Int, UInt8

from sora_core.safety import coding

TILE = 128
# Cycles a pixel. Below, pictures have most of their energy; above, codecs and half the size take it away.
_BAND = (0.035, 0.235)
_PILOT_SHARE = 0.25
# 20 log10(255 / rms) is above 40 dB below this root mean square of the change.
_MOST_RMS = 2.35
_FLATTEST, _ROUGHEST, _ROUGHNESS = 0.55, 2.2, 10.0
_NEIGHBOURHOOD = (9, 9)
_MOTION_SIDE = 256
_SURE_OF_MOTION = 0.15
_SMALLEST_MOVING = 16
_HYSTERESIS = 1.25
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class MarkKey:
    """Who marks: a name that readers are told, and the secret that places the pattern."""

    name: str
    secret: bytes

    def __repr__(self) -> str:
        return f"MarkKey({self.name!r})"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in the tile's spectrum a key's pilot and chips lie."""

    pilot: Complex[np.ndarray, "tile tile"]  # unit numbers at the pilot's coefficients, 0 elsewhere
    phases: Complex[np.ndarray, "n"]  # unit numbers of the coefficients that carry chips
    places: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]
    chip: Int[np.ndarray, "n"]  # which chip each of them carries


@lru_cache(maxsize=16)
def layout(secret: bytes) -> Layout:
    """The layout that a secret gives."""
    seed = hmac.new(secret, b"sora pixel mark", hashlib.sha256).digest()
    random = np.random.Generator(np.random.Philox(key=int.from_bytes(seed[:16], "big")))
    y, x = np.meshgrid(*[np.fft.fftfreq(TILE)] * 2, indexing="ij")
    radius = np.hypot(y, x)
    half = (y > 0) | ((y == 0) & (x > 0))
    rows, columns = np.nonzero(half & (radius >= _BAND[0]) & (radius <= _BAND[1]))
    order = random.permutation(len(rows))
    rows, columns = rows[order], columns[order]
    phases = np.exp(2j * np.pi * random.random(len(rows)))
    piloted = round(len(rows) * _PILOT_SHARE)
    pilot = np.zeros((TILE, TILE), np.complex128)
    pilot[rows[:piloted], columns[:piloted]] = phases[:piloted]
    carriers = len(rows) - piloted
    return Layout(pilot, phases[piloted:], (rows[piloted:], columns[piloted:]), np.arange(carriers) % coding.NUM_CHIPS)


def pattern(key: MarkKey, identity: int) -> Float[np.ndarray, "tile tile"]:
    """The tile that says an id, of mean square 1."""
    plan = layout(key.secret)
    spectrum = plan.pilot.copy()
    spectrum[plan.places] = plan.phases * coding.encode(identity)[plan.chip]
    tile = np.fft.ifft2(spectrum).real
    unit: np.ndarray = (tile / tile.std()).astype(np.float32)
    return unit


class Marker:
    """Marks the frames of one video as they pass by, in order."""

    def __init__(self, key: MarkKey, identity: int) -> None:
        self._tile = pattern(key, identity)
        self._motion = Motion()

    def __call__(self, frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The frame with the mark in it; another array."""
        luma = cv2.transform(frame, LUMA[None]).astype(np.float32)
        down, right = self._motion.follow(luma)
        height, width = luma.shape
        rows, columns = (np.arange(height) - down) % TILE, (np.arange(width) - right) % TILE
        change = self._tile[np.ix_(rows, columns)] * _visibility(luma)
        rms = float(np.sqrt(np.mean(np.square(change))))
        change *= min(_MOST_RMS / max(rms, 1e-6), _MOST_RMS)
        marked = frame.astype(np.float32) + change[..., None]
        whole: np.ndarray = np.clip(np.rint(marked, out=marked), 0, 255, out=marked).astype(np.uint8)
        return whole


def mark_frames(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]], key: MarkKey, identity: int
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of one video with an id in them."""
    marker = Marker(key, identity)
    return (marker(frame) for frame in frames)


def _visibility(luma: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """How much change a place bears: more where the picture is rough."""
    rough = np.sqrt(local_variance(luma))
    bearable: np.ndarray = np.clip(_FLATTEST + rough / _ROUGHNESS, _FLATTEST, _ROUGHEST)
    return bearable


def local_variance(luma: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The variance of each pixel's neighbourhood."""
    mean = cv2.blur(luma, _NEIGHBOURHOOD)
    variance: np.ndarray = np.maximum(cv2.blur(luma * luma, _NEIGHBOURHOOD) - mean * mean, 0.0)
    return variance


class Motion:
    """Where the picture has moved to since the first frame, in whole pixels: the shift that all of it shares.

    Each frame is compared by phase correlation with an anchor, an earlier frame, so that small errors don't add up;
    what no longer looks like the anchor makes its predecessor the next one. Cuts and unclear motion count as rest.
    """

    def __init__(self) -> None:
        self._window: np.ndarray | None = None
        self._anchor: np.ndarray | None = None
        self._before: np.ndarray | None = None
        self._at_anchor = self._at_before = (0.0, 0.0)
        self._said = (0, 0)

    def follow(self, luma: Float[np.ndarray, "h w"]) -> tuple[int, int]:
        """Take the next frame; how far down and right its content lies of where it lay in the first."""
        factor = min(1.0, _MOTION_SIDE / max(luma.shape))
        small = luma if factor == 1.0 else cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        if min(small.shape) < _SMALLEST_MOVING:
            return 0, 0
        if self._anchor is None or self._before is None:
            self._window = cv2.createHanningWindow(small.shape[::-1], cv2.CV_32F)
            self._anchor = self._before = small
            return 0, 0
        shift = self._shift(self._anchor, small)
        if shift is None:
            self._anchor, self._at_anchor = self._before, self._at_before
            shift = self._shift(self._anchor, small) or (0.0, 0.0)
        self._at_before = self._at_anchor[0] + shift[0] / factor, self._at_anchor[1] + shift[1] / factor
        self._before = small
        self._said = _settled(self._said[0], self._at_before[0]), _settled(self._said[1], self._at_before[1])
        return self._said

    def _shift(self, before: np.ndarray, after: np.ndarray) -> tuple[float, float] | None:
        """Down and right, in pixels of the small picture; None when the two don't agree on one."""
        (right, down), sure = cv2.phaseCorrelate(before, after, self._window)
        return (down, right) if sure > _SURE_OF_MOTION else None


def _settled(said: int, at: float) -> int:
    """A place in whole pixels that doesn't waver between two."""
    return said if abs(at - said) < _HYSTERESIS else round(at)
