"""Sets of clips of the controlled world as training sees them: drawn, encoded once, kept in a folder."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sora_core.pipeline.frames import to_video
from sora_core.precision import fast_dtype
from sora_core.shapes import LatentShape, Patch
from sora_core.text import TextEncoder
from sora_core.training.order import Ints
from sora_core.training.step import Example
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import Whitening, WhiteningStatistics
from sora_core.world.render import render
from sora_core.world.scene import Mix
from sora_core.world.words import caption, sample

FOLDER = Path("build/scaling")
"""Encoded sets and trained weights; made anew when deleted."""

FPS = 8.0

logger = logging.getLogger(__name__)

_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """A clip before the autoencoder, uint8 ``(t, h, w, 3)``, and its caption.

    Clips of one ``subject`` are references of one another (`sora_core.training.references`).
    """

    name: str
    caption: str
    frames: np.ndarray
    subject: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ClipSet:
    """Encoded clips for training, each with a number for its subject, and, of other scenes, for validation."""

    train: list[Example]
    val: list[Example]
    whitening: Whitening
    null_text: torch.Tensor
    subjects: Ints

    def tokens(self, patch: Patch) -> Ints:
        """Length of each training clip."""
        shapes = [LatentShape(*example.latent_mean.shape) for example in self.train]
        return np.array([patch.grid(shape).num_tokens for shape in shapes], dtype=np.int64)


def scenes(mix: Mix, seed: int, count: int) -> Iterator[Footage]:
    """Rendered scenes of combinations met in training."""
    for number in range(count):
        scene = sample(mix, seed * 2**32 + number)
        yield Footage(f"{seed}-{number}", caption(scene.attributes), render(scene))


def encoded(name: str, train: Iterator[Footage], val: Iterator[Footage]) -> ClipSet:
    """The set of this name from `FOLDER`; from the footage, which is read only then, when it isn't there."""
    path = FOLDER / f"{name}.pt"
    if not path.exists():
        logger.info("encoding %s", path)
        vae, text = VideoAutoencoder.load(dtype=fast_dtype("cpu")), TextEncoder.load()
        subjects: list[str] = []
        kept, held = _encode(vae, text, _noting(subjects, train)), _encode(vae, text, val)
        statistics = WhiteningStatistics()
        for example in kept:
            statistics.update(example.latent_mean.float())
        values = {
            "train": [_to_dict(example) for example in kept],
            "val": [_to_dict(example) for example in held],
            "whitening": asdict(statistics.result()),
            "null_text": text.encode([""])[0],
            "subjects": torch.from_numpy(np.unique(subjects, return_inverse=True)[1]),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(values, path)
    stored = torch.load(path, weights_only=True)
    splits = [[Example(**values) for values in stored[split]] for split in ("train", "val")]
    return ClipSet(*splits, Whitening(**stored["whitening"]), stored["null_text"], stored["subjects"].numpy())


def _noting(subjects: list[str], footage: Iterator[Footage]) -> Iterator[Footage]:
    """The footage, while its subjects are written down; a clip without one is alone with its own."""
    for item in footage:
        subjects.append(item.subject or f"of {item.name} alone")
        yield item


def _to_dict(example: Example) -> dict[str, object]:
    return {name: getattr(example, name) for name in ("clip_id", "latent_mean", "latent_std", "text")}


def _encode(vae: VideoAutoencoder, text: TextEncoder, footage: Iterator[Footage]) -> list[Example]:
    """Clips of one shape go through the autoencoder together; the order is that of the footage."""
    found: dict[int, Example] = {}
    numbered = enumerate(footage)
    while window := list(islice(numbered, 32 * _BATCH)):
        captions = sorted({item.caption for _, item in window})
        states = dict(zip(captions, text.encode(captions), strict=True))
        by_shape: dict[tuple[int, ...], list[tuple[int, Footage]]] = {}
        for number, item in window:
            by_shape.setdefault(item.frames.shape, []).append((number, item))
        for alike in by_shape.values():
            for start in range(0, len(alike), _BATCH):
                found.update(_encode_batch(vae, states, alike[start : start + _BATCH]))
    return [found[number] for number in sorted(found)]


def _encode_batch(
    vae: VideoAutoencoder, states: dict[str, torch.Tensor], batch: Sequence[tuple[int, Footage]]
) -> Iterator[tuple[int, Example]]:
    posterior = vae.encode(torch.stack([to_video(item.frames) for _, item in batch]))
    for (number, item), mean, std in zip(batch, posterior.mean.half(), posterior.std.half(), strict=True):
        yield number, Example(item.name, mean.clone(), std.clone(), states[item.caption].half())
