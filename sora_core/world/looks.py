"""How a clip of the world looks, whatever it shows: whether its object is whole, and how far it is from smooth."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sora_core.world.readback import MIN_SATURATION, MIN_VALUE

_EDGE_PIXELS = 3

Frames = NDArray[np.uint8]


def objects(video: Frames) -> NDArray[np.bool_]:
    """The largest patch of pure colour in each frame, ``(t, h, w)``; nothing where there is none."""
    masks = np.zeros(video.shape[:3], bool)
    for number, frame in enumerate(video):
        hsv = cv2.cvtColor(frame.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2HSV)
        pure = ((hsv[..., 1] > MIN_SATURATION) & (hsv[..., 2] > MIN_VALUE)).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(pure, connectivity=8)
        if len(stats) > 1:
            masks[number] = labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return masks


def is_whole(video: Frames) -> bool:
    """Whether the object is seen and touches no edge of the picture with more than a few pixels in any frame."""
    masks = objects(video)
    edges = [masks[:, 0].sum(1), masks[:, -1].sum(1), masks[:, :, 0].sum(1), masks[:, :, -1].sum(1)]
    seen = masks.any((1, 2)).mean() > 0.5
    return bool(seen and np.max(edges) <= _EDGE_PIXELS)


def speckle(video: Frames) -> float:
    """Mean distance of the ground's pixels from their 3x3 median, of 255."""
    near = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) for mask in objects(video)]) > 0
    smooth = np.stack([cv2.medianBlur(np.ascontiguousarray(frame), 3) for frame in video])
    off = np.abs(video.astype(np.float32) - smooth).mean(-1)
    return float(off[~near].mean()) if not near.all() else float(off.mean())
