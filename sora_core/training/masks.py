"""Which latents of a training clip are given: the tasks that a model learns beside plain generation."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sora_core.shapes import LatentShape, Patch

Mask = Bool[Tensor, "t h w"]


def _frames(latent: LatentShape, indices: list[int]) -> Mask:
    mask = torch.zeros(latent.frames, latent.height, latent.width, dtype=torch.bool)
    mask[indices] = True
    return mask


def _nothing(latent: LatentShape, _patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, [])


def _first_frame(latent: LatentShape, _patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, [0])


def _last_frame(latent: LatentShape, _patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, [latent.frames - 1])


def _both_ends(latent: LatentShape, _patch: Patch, _rng: np.random.Generator) -> Mask:
    return _frames(latent, [0, latent.frames - 1])


def _prefix(latent: LatentShape, _patch: Patch, rng: np.random.Generator) -> Mask:
    return _frames(latent, list(range(int(rng.integers(1, latent.frames)))))


def _outside_a_box(latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """All but a random box in space and time, cut along whole patches, as in inpainting."""
    box = []
    sides = (latent.frames, latent.height, latent.width)
    for side, unit in zip(sides, (patch.time, patch.height, patch.width), strict=True):
        low, high = sorted(int(edge) for edge in rng.choice(side // unit + 1, size=2, replace=False))
        box.append(slice(low * unit, high * unit))
    mask = torch.ones(sides, dtype=torch.bool)
    mask[tuple(box)] = False
    return mask


KINDS: Mapping[str, Callable[[LatentShape, Patch, np.random.Generator], Mask]] = MappingProxyType(
    {
        "nothing": _nothing,
        "first_frame": _first_frame,
        "last_frame": _last_frame,
        "both_ends": _both_ends,
        "prefix": _prefix,
        "outside_a_box": _outside_a_box,
    }
)
_OF_A_STILL = frozenset({"nothing", "outside_a_box"})


def draw_mask(kind: str, latent: LatentShape, patch: Patch, rng: np.random.Generator) -> Mask:
    """A mask of given latents, aligned to patches, that leaves something to learn: a clip too short for one gets none.

    A still has no first frame apart from itself, and a clip of two frames no middle between its ends.
    """
    too_short = latent.frames == 1 and kind not in _OF_A_STILL
    if too_short or (kind == "both_ends" and latent.frames == 2):
        kind = "nothing"
    return KINDS[kind](latent, patch, rng)
