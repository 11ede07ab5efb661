"""How far a clip wanders from its first frame and from the truth, frame by frame, by classical vision."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.sampling import Frames
from sora_core.world.looks import objects

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LOST = 0.2  # of its first area: an object smaller than that is gone


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """A number for each frame; NaN where the object is lost, but for ``lost`` and ``ground``.

    ``hue`` in degrees and ``outline`` (intersection over union, both moved to their middles) against the truth's first
    frame; ``position`` against the truth's position and ``crooked`` against the clip's own straight line, in sides of
    the picture; ``ground``: distance of the mean colour around the object from the truth's, of 255.
    """

    hue: Floats
    outline: Floats
    position: Floats
    crooked: Floats
    ground: Floats
    lost: Floats


def measure(video: Frames, truth: Frames) -> Drift:
    """The drift of a clip (t, h, w, 3) from the truth of the same shape."""
    masks, true_masks = objects(video), objects(truth)
    first, side = true_masks[0], truth.shape[1]
    lost = masks.sum((1, 2)) < _LOST * first.sum()
    places, true_places = _middles(masks, lost), _middles(true_masks, np.zeros(len(truth), bool))
    hue = np.array([_hue_distance(frame, mask, truth[0], first) for frame, mask in zip(video, masks, strict=True)])
    outline = np.array([_overlap(mask, first) for mask in masks])
    return Drift(
        hue=np.where(lost, np.nan, hue),
        outline=np.where(lost, np.nan, outline),
        position=np.linalg.norm(places - true_places, axis=1) / side,
        crooked=_crooked(places) / side,
        ground=np.array(
            [
                np.linalg.norm(_ground(*now) - _ground(*true))
                for now, true in zip(zip(video, masks, strict=True), zip(truth, true_masks, strict=True), strict=True)
            ]
        ),
        lost=lost.astype(np.float64),
    )


def _middles(masks: Mask, lost: Mask) -> Floats:
    """(t, 2): row and column of each mask's middle, NaN where lost."""
    found = np.full((len(masks), 2), np.nan)
    for number in np.flatnonzero(~lost):
        found[number] = np.argwhere(masks[number]).mean(0)
    return found


def _crooked(places: Floats) -> Floats:
    """Distances from the straight, even motion that fits best."""
    times = np.arange(len(places))
    seen = ~np.isnan(places[:, 0])
    if seen.sum() < 3:
        return np.full(len(places), np.nan)
    fit = np.polyfit(times[seen], places[seen], 1)
    return np.linalg.norm(places - (times[:, None] * fit[0] + fit[1]), axis=1)


def _hue_distance(frame: Frames, mask: Mask, first_frame: Frames, first_mask: Mask) -> float:
    apart = abs(_hue(frame, mask) - _hue(first_frame, first_mask)) % 360
    return float(min(apart, 360 - apart))


def _hue(frame: Frames, mask: Mask) -> float:
    """The circular mean hue under a mask in degrees; 0 under an empty one."""
    hues = cv2.cvtColor(frame.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2HSV)[..., 0][mask]
    return float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(hues)).sum())))


def _overlap(mask: Mask, first: Mask) -> float:
    """Intersection over union of two masks, each moved to the middle of the picture."""
    if not mask.any():
        return 0.0
    one, other = _centred(mask), _centred(first)
    return float((one & other).sum() / (one | other).sum())


def _centred(mask: Mask) -> Mask:
    height, width = mask.shape
    row, column = np.argwhere(mask).mean(0)
    return np.roll(mask, (round(height / 2 - row), round(width / 2 - column)), (0, 1))


def _ground(frame: Frames, mask: Mask) -> Floats:
    """The mean colour away from the object."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return frame[~near].mean(0) if not near.all() else frame.mean((0, 1))
