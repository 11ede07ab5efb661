"""Reading the mark of `sora_core.safety.mark` back from frames that may have been coded, cropped, scaled or cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
from jaxtyping import Complex, Float, UInt8

from sora_core.safety import coding
from sora_core.safety.mark import LUMA, TILE, Layout, MarkKey, Motion, layout, local_variance

# What a frame may have been scaled by since it was marked; each is undone before the tile is looked for.
SCALES = (1.0, 0.5, 2.0, 0.75, 2 / 3, 1.5, 4 / 3)
FALSE_ALARM = 1e-7
_CANDIDATES = 8
SMALLEST_SIDE = 32  # pixels; what is smaller has no room for a mark that could be read
# The noise of a codec, in luma levels: below it a neighbourhood's variance says nothing.
_NOISE = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found: the key's name, the id, and the chance that frames without a mark would look like this."""

    key: str
    identity: int
    score: float
    false_alarm: float


def read_mark(frames: Iterable[UInt8[np.ndarray, "h w 3"]], keys: Sequence[MarkKey]) -> Reading | None:
    """The mark in a video's frames, or in a picture's one; None when there is none that any of the keys made."""
    lumas = [cv2.transform(frame, LUMA[None]).astype(np.float32) for frame in frames]
    if not lumas or min(lumas[0].shape) < SMALLEST_SIDE:
        return None
    for scale in SCALES:
        spectra = [_whitened(np.fft.fft2(tile)) for tile in _folded(lumas, scale)]
        for key in keys:
            for spectrum in spectra:
                found = _read(spectrum, key)
                if found is not None:
                    return found
    return None


def _folded(lumas: Sequence[Float[np.ndarray, "h w"]], scale: float) -> tuple[Float[np.ndarray, "tile tile"], ...]:
    """All frames' fine structure added up in one tile: as if the pattern stood still, and as if it had moved."""
    still = np.zeros((TILE, TILE), np.float64)
    moving = np.zeros((TILE, TILE), np.float64)
    motion, moved = Motion(), False
    for luma in lumas:
        if scale != 1.0:
            luma = cv2.resize(luma, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_LINEAR)
        down, right = motion.follow(luma)
        tile = _fold(_fine_structure(luma))
        still += tile
        moving += np.roll(tile, (-down, -right), axis=(0, 1))
        moved = moved or (down, right) != (0, 0)
    return (still, moving) if moved else (still,)


def _fine_structure(luma: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The picture without its coarse shapes, each place by how much noise it holds."""
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 4.0)
    whitened: np.ndarray = fine / np.sqrt(local_variance(luma) + _NOISE**2)
    return whitened


def _fold(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "tile tile"]:
    height, width = (-(-side // TILE) * TILE for side in values.shape)
    padded = np.zeros((height, width), np.float64)
    padded[: values.shape[0], : values.shape[1]] = values
    tile: np.ndarray = padded.reshape(height // TILE, TILE, width // TILE, TILE).sum(axis=(0, 2))
    return tile


def _whitened(spectrum: Complex[np.ndarray, "tile tile"]) -> Complex[np.ndarray, "tile tile"]:
    """Every coefficient at its neighbours' strength in frequency, so that no line of the picture drowns the rest."""
    magnitude = np.abs(spectrum)
    around = cv2.blur(np.fft.fftshift(magnitude), (9, 9), borderType=cv2.BORDER_REFLECT)
    around = np.fft.ifftshift(around) + 1e-12
    even: np.ndarray = spectrum / np.maximum(magnitude, around)
    return even


def _read(spectrum: Complex[np.ndarray, "tile tile"], key: MarkKey) -> Reading | None:
    plan = layout(key.secret)
    correlation = np.fft.ifft2(spectrum * plan.pilot.conj()).real
    deviation = float(np.sqrt(np.mean(np.square(correlation)))) + 1e-12
    for place in np.argsort(correlation, axis=None)[::-1][:_CANDIDATES]:
        down, right = (int(at) for at in np.unravel_index(place, correlation.shape))
        score = float(correlation[down, right]) / deviation
        if _false_alarm(score) > FALSE_ALARM:
            return None
        identity = coding.decode(_chips(spectrum, plan, down, right))
        if identity is not None:
            return Reading(key.name, identity, score, _false_alarm(score))
    return None


def _chips(
    spectrum: Complex[np.ndarray, "tile tile"], plan: Layout, down: int, right: int
) -> Float[np.ndarray, "chips"]:
    """What the coefficients say of each chip, for a tile that begins at this place."""
    rows, columns = plan.places
    turn = np.exp(2j * np.pi * (rows * down + columns * right) / TILE)
    told = (spectrum[rows, columns] * turn * plan.phases.conj()).real
    return np.bincount(plan.chip, told, coding.NUM_CHIPS)


def _false_alarm(score: float) -> float:
    """An upper bound of the chance that unmarked frames reach a score at any place, scale or way of adding up, and that
    noise then passes the checksum: the correlation is a sum of hundreds of coefficients, so it is normal."""
    trials = TILE**2 * len(SCALES) * 2
    return min(1.0, trials * NormalDist().cdf(-score)) * _CANDIDATES * 2.0**-coding.CHECK_BITS
