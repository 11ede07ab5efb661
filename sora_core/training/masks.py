"""Which latents of a training clip are given: the tasks that a model learns beside plain generation."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sora_core.shapes import LatentShape, Patch

Mask = Bool[Tensor, "t h w"]

_MOST_BOXES = 3


def _num_frames(latent: LatentShape, patch: Patch) -> int:
    """Of tokens: what is given ends with a patch in time, too."""
    return latent.frames // patch.time


def _frames(latent: LatentShape, patch: Patch, indices: list[int]) -> Mask:
    mask = torch.zeros(_num_frames(latent, patch), latent.height, latent.width, dtype=torch.bool)
    mask[indices] = True
    return mask.repeat_interleave(patch.time, dim=0)


def _nothing(latent: LatentShape, patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, patch, [])


def _first_frame(latent: LatentShape, patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, patch, [0])


def _last_frame(latent: LatentShape, patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, patch, [_num_frames(latent, patch) - 1])


def _both_ends(latent: LatentShape, patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, patch, [0, _num_frames(latent, patch) - 1])


def _keyframes(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """Any frames, fewer than all."""
    num = _num_frames(latent, patch)
    count = int(rng.integers(1, num))
    return _frames(latent, patch, rng.choice(num, size=count, replace=False).tolist())


def _prefix(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    return _frames(latent, patch, list(range(int(rng.integers(1, _num_frames(latent, patch))))))


def _suffix(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    num = _num_frames(latent, patch)
    return _frames(latent, patch, list(range(int(rng.integers(1, num)), num)))


def _around_the_middle(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """A beginning and an end: what leads from one to the other is free."""
    num = _num_frames(latent, patch)
    begin, end = sorted(int(edge) for edge in rng.choice(np.arange(1, num), size=2, replace=False))
    return _frames(latent, patch, [*range(begin), *range(end, num)])


def _box(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> tuple[slice, slice, slice]:
    """A random box in space and time, cut along whole patches."""
    box = []
    sides = (latent.frames, latent.height, latent.width)
    for side, unit in zip(sides, (patch.time, patch.height, patch.width), strict=True):
        low, high = sorted(int(edge) for edge in rng.choice(side // unit + 1, size=2, replace=False))
        box.append(slice(low * unit, high * unit))
    return box[0], box[1], box[2]


def _outside_a_box(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """All but a box, as in inpainting."""
    mask = ~_nothing(latent, patch, rng)
    mask[_box(latent, patch, rng)] = False
    return mask


def _outside_boxes(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """All but a few boxes, each with its own time."""
    mask = ~_nothing(latent, patch, rng)
    for _ in range(int(rng.integers(1, _MOST_BOXES + 1))):
        mask[_box(latent, patch, rng)] = False
    return mask


def _inside_a_box(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """A part of the picture at all times, as in outpainting; nothing where the box is the whole picture."""
    _, rows, columns = _box(latent, patch, rng)
    mask = _nothing(latent, patch, rng)
    mask[:, rows, columns] = True
    return mask if not bool(mask.all()) else ~mask


KINDS: Mapping[str, Callable[[LatentShape, Patch, np.random.Generator], Mask]] = MappingProxyType(
    {
        "nothing": _nothing,
        "first_frame": _first_frame,
        "last_frame": _last_frame,
        "both_ends": _both_ends,
        "keyframes": _keyframes,
        "prefix": _prefix,
        "suffix": _suffix,
        "around_the_middle": _around_the_middle,
        "outside_a_box": _outside_a_box,
        "outside_boxes": _outside_boxes,
        "inside_a_box": _inside_a_box,
    }
)
SHARES: Mapping[str, float] = MappingProxyType(
    {
        "first_frame": 0.06,
        "last_frame": 0.02,
        "both_ends": 0.03,
        "keyframes": 0.04,
        "prefix": 0.06,
        "suffix": 0.04,
        "around_the_middle": 0.05,
        "outside_a_box": 0.02,
        "outside_boxes": 0.05,
        "inside_a_box": 0.03,
    }
)
"""The share of the clips of each kind with which a model learns every edit; the rest is given nothing."""

_OF_A_STILL = frozenset({"nothing", "outside_a_box", "outside_boxes", "inside_a_box"})
_NEED_A_MIDDLE = frozenset({"both_ends", "around_the_middle"})


def draw_mask(kind: str, latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """A mask of given latents, aligned to patches, that leaves something to learn: a clip too short for one gets none.

    A still has no first frame apart from itself, and a clip of two frames no middle between its ends.
    """
    num = _num_frames(latent, patch)
    if (num == 1 and kind not in _OF_A_STILL) or (kind in _NEED_A_MIDDLE and num == 2):
        kind = "nothing"
    return KINDS[kind](latent, patch, rng)
