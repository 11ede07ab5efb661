"""Runs of frames -> square clips to train on: random place, scale, camera move, direction of time and mirror."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.train_vae.footage import Frames
from sora_core.world.render import render
from sora_core.world.scene import Mix
from sora_core.world.words import sample

_MOVED = 0.25  # share of video crops with a camera move of our own; crops of photographs always have one
_ZOOM = 0.15  # largest, in logarithms of the side over a clip
_PAN = 0.35  # farthest, in sides over a clip
_PHOTO_REACH = 0.8  # largest side of a crop of a photograph, in short sides: room to move
_FLIP, _UPSIDE_DOWN, _TRANSPOSED, _RECOLOURED, _REVERSED = 0.5, 0.25, 0.25, 0.2, 0.5
_STRIDES = (1, 1, 1, 2)


def batch(
    runs: Mapping[str, list[Frames]], rng: np.random.Generator, num: int, frames: int, side: int, world_share: float
) -> Float[Tensor, "b 3 t h w"]:
    """Clips in [-1, 1], files drawn with equal chances."""
    long_enough = {name: kept for name in runs if (kept := [r for r in runs[name] if len(r) == 1 or len(r) >= frames])}
    clips = [
        world_clip(int(rng.integers(2**30)), frames, side)
        if rng.random() < world_share
        else random_crop(long_enough, rng, frames, side)
        for _ in range(num)
    ]
    return to_pixels(clips)


def world_clip(seed: int, frames: int, side: int) -> Frames:
    """A clip of the controlled world."""
    mix = Mix(sizes={(side, side): 1.0}, frames={frames: 1.0}, counts={1: 2.0, 2: 1.0, 3: 1.0})
    return render(sample(mix, seed))


def to_pixels(clips: Sequence[Frames]) -> Float[Tensor, "b 3 t h w"]:
    """Clips of one shape, in [-1, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(clips)))
    return stacked.permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def middle(run: Frames, side: int) -> Frames:
    """The largest square in the middle of each frame, scaled by area to ``side``."""
    height, width = run.shape[1:3]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return _scaled([frame[top : top + edge, left : left + edge] for frame in run], side)


def random_crop(runs: Mapping[str, list[Frames]], rng: np.random.Generator, frames: int, side: int) -> Frames:
    """One augmented clip (frames, side, side, 3)."""
    names = list(runs)
    of_file = runs[names[rng.integers(len(names))]]
    run = of_file[rng.integers(len(of_file))]
    order, moves = np.zeros(frames, int), True
    if len(run) > 1:
        stride = min(int(rng.choice(_STRIDES)), max(1, (len(run) - 1) // (frames - 1)))
        order = rng.integers(len(run) - (frames - 1) * stride) + stride * np.arange(frames)
        order = order[::-1] if rng.random() < _REVERSED else order
        moves = rng.random() < _MOVED
    boxes = _camera(rng, run.shape[1:3], frames, side, moves=moves, photo=len(run) == 1)
    clip = _scaled(
        [run[i, top : top + edge, left : left + edge] for i, (top, left, edge) in zip(order, boxes, strict=True)], side
    )
    return _mirrored(clip, rng)


def _camera(
    rng: np.random.Generator, size: tuple[int, ...], frames: int, side: int, *, moves: bool, photo: bool
) -> list[tuple[int, int, int]]:
    """(top, left, edge) of the square to cut from each frame; edges spread evenly in scale."""
    height, width = size
    largest = min(height, width)
    smallest = min(side, largest)
    reach = max(smallest, largest * _PHOTO_REACH) if photo else largest
    first_edge = np.exp(rng.uniform(np.log(smallest), np.log(reach)))
    zoom = rng.uniform(-_ZOOM, _ZOOM) if moves else 0.0
    last_edge = np.clip(first_edge * np.exp(zoom), smallest, largest)
    first = rng.uniform(0, (height - first_edge, width - first_edge))
    angle = rng.uniform(0, 2 * np.pi)
    pan = first_edge * rng.uniform(0, _PAN) * np.array((np.sin(angle), np.cos(angle))) if moves else np.zeros(2)
    last = np.clip(first + pan, 0, (height - last_edge, width - last_edge))
    boxes = []
    for time in np.linspace(0, 1, frames):
        edge = round(first_edge + (last_edge - first_edge) * time)
        top, left = np.round(first + (last - first) * time).astype(int)
        boxes.append((min(int(top), height - edge), min(int(left), width - edge), edge))
    return boxes


def _scaled(squares: Sequence[Frames], side: int) -> Frames:
    shrinks = squares[0].shape[0] >= side
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(np.ascontiguousarray(square), (side, side), interpolation=how) for square in squares])


def _mirrored(clip: Frames, rng: np.random.Generator) -> Frames:
    if rng.random() < _FLIP:
        clip = clip[:, :, ::-1]
    if rng.random() < _UPSIDE_DOWN:
        clip = clip[:, ::-1]
    if rng.random() < _TRANSPOSED:
        clip = clip.transpose(0, 2, 1, 3)
    return clip[..., rng.permutation(3)] if rng.random() < _RECOLOURED else clip
