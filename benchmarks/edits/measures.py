"""What is measured of an edited film, from its pixels."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.scaling.drift import measure
from sora_core import media
from sora_core.edits import Clip


def changes(frames: Clip) -> np.ndarray:
    """The mean change from each frame to the next, of 255."""
    return np.abs(np.diff(frames.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))


def jump(film: Clip, at: int, own: Clip) -> float:
    """The change into frame ``at`` (0: from the last), in units of the mean change within ``own``."""
    step = np.abs(film[at].astype(np.float32) - film[at - 1]).mean()
    return float(step / changes(own).mean())


def psnr(a: Clip, b: Clip, where: np.ndarray | None = None) -> float:
    """In dB, of the pixels ``where`` is true; infinite when they are equal."""
    error = np.square(a.astype(np.float32) - b)
    mean = float((error if where is None else error[where]).mean())
    return float("inf") if mean == 0 else 10 * float(np.log10(255**2 / mean))


def through_mp4(film: Clip, fps: float, crf: int) -> Clip:
    """The film as somebody sees it who downloads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        media.encode_mp4(path, iter(film), fps, crf=crf)
        return media.decode_clip(path)


def kept_identity(film: Clip, truth: Clip) -> dict[str, float]:
    """How far the object is from its first frame and the truth's place, over the frames of the film."""
    drift = measure(film, truth)
    with np.errstate(all="ignore"):
        return {
            "hue off, degrees": _mean(drift.hue),
            "outline": float(np.nan_to_num(drift.outline).mean()),
            "off its place, sides": _mean(drift.position),
            "ground off": float(drift.ground.mean()),
            "lost": float(drift.lost.mean()),
        }


def _mean(values: np.ndarray) -> float:
    """Of the numbers among them; NaN when there is none."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
