"""HDR pictures for an SDR world: PQ and HLG in BT.2020 to gamma in BT.709, reference white kept near white.

Equations and constants: ITU-R BT.2100-3 (PQ, HLG), BT.2408-7 (reference white at 203 cd/m2), BT.2087-0 (primaries).
"""

from functools import lru_cache

import numpy as np

# FFmpeg's numbers of the transfer functions.
PQ, HLG = 16, 18
_REFERENCE_WHITE = 203.0
_HLG_PEAK = 1000.0
_HLG_GAMMA = 1.2
_LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_2020_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
# Light up to this share of white passes unchanged; all that is brighter is pressed into the rest.
_KNEE = 0.75
_GAMMA = 2.2


def to_sdr(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """uint16 full-range RGB ``(h, w, 3)`` of BT.2020 with one of the two ``transfer`` functions, as uint8 of BT.709."""
    light = _light(transfer)[pixels]
    if transfer == HLG:
        light *= (light @ _LUMINANCE_2020)[..., None] ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _REFERENCE_WHITE)
    # By the brightest channel, so that no hue turns.
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    light *= _pressed(brightest) / brightest
    shown = np.clip(light @ _2020_TO_709.T, 0, 1) ** np.float32(1 / _GAMMA)
    sdr: np.ndarray = np.rint(shown * 255).astype(np.uint8)
    return sdr


def _pressed(light: np.ndarray) -> np.ndarray:
    """Below the knee as it is, above it ever nearer to 1; smooth."""
    room = 1 - _KNEE
    over = np.maximum(light - _KNEE, 0)
    return np.where(light <= _KNEE, light, _KNEE + room * (1 - np.exp(-over / room)))


@lru_cache(maxsize=2)
def _light(transfer: int) -> np.ndarray:
    """Light of every 16-bit code: of PQ in units of reference white, of HLG the scene's, 0 to 1."""
    code = np.arange(65536) / 65535
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (nits / _REFERENCE_WHITE).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
