"""Alignment of a middle block's states with features of the clean clip (after REPA, Yu et al. 2025).

The features are the autoencoder's own, out of the middle of its encoder; no other pretrained network is at hand.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

from benchmarks.scaling.clips import FOLDER, Footage
from sora_core.dit.model import DiT
from sora_core.pipeline.frames import to_video
from sora_core.precision import fast_dtype
from sora_core.training.draws import Draw
from sora_core.training.plan import PlannedStep
from sora_core.training.trainer import Slots, Trainer
from sora_core.vae import VideoAutoencoder

Features = dict[str, Tensor]
"""Clip id -> ``(n, d)``, a row for each token, centred."""


def encoder_features(name: str, footage: Iterator[Footage]) -> Features:
    """The encoder's middle states of each clip, averaged over a token's patch; kept in `FOLDER`."""
    path = FOLDER / f"{name}-features.pt"
    if not path.exists():
        vae = VideoAutoencoder.load(dtype=fast_dtype("cpu"))
        states: list[Tensor] = []
        middle: Any = vae._model.encoder.mid_block
        handle = middle.register_forward_hook(lambda _module, _args, out: states.append(out.float()))
        found: Features = {}
        for item in footage:
            vae.encode(to_video(item.frames)[None])
            found[item.name] = _tokens(torch.cat(states, dim=2)[0])
            states.clear()
        handle.remove()
        mean = torch.cat(list(found.values())).float().mean(0)
        torch.save({clip: (values.float() - mean).half() for clip, values in found.items()}, path)
    features: Features = torch.load(path, weights_only=True)
    return features


def _tokens(states: Tensor) -> Tensor:
    averaged: Tensor = reduce(states, "c t (h ph) (w pw) -> (t h w) c", "mean", ph=2, pw=2)
    return averaged.half()


class _WithLoss(torch.autograd.Function):
    """The states as they are; backward also descends a loss computed of them."""

    @staticmethod
    def forward(_context: Any, states: Tensor, _loss: Tensor) -> Tensor:
        return states.view_as(states)

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], gradients[0].new_ones(())


class Alignment(nn.Module):
    """Pulls states towards the features that `expect` announced: ``weight (1 - cosine)``, a mean over each clip."""

    def __init__(self, width: int, features: int, weight: float) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, features))
        self._weight = weight
        self._expected: deque[tuple[Tensor, Tensor]] = deque()

    def expect(self, features: Sequence[Tensor], num_clips: int) -> None:
        """The features of the clips of a forward to come, in order; ``num_clips`` share the step's mean."""
        shares = torch.cat([torch.full((len(part),), 1 / (len(part) * num_clips)) for part in features])
        self._expected.append((torch.cat(list(features)).float(), shares))

    def __call__(self, _block: nn.Module, _inputs: Any, states: Tensor) -> Tensor:
        """A forward hook of the block whose states these are."""
        if not self._expected:
            return states
        features, shares = self._expected.popleft()
        apart = 1 - F.cosine_similarity(self.projector(states).float(), features, dim=1)
        aligned: Tensor = _WithLoss.apply(states, self._weight * (apart * shares).sum())
        return aligned


class AlignedTrainer(Trainer):
    """A trainer whose model carries an `Alignment` called ``alignment``."""

    features: Features

    def _backward(self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw]) -> Any:
        alignment: Any = self.dit.alignment
        for pack in packs:
            alignment.expect([self.features[example.clip_id] for _, example in pack], planned.num_clips)
        return super()._backward(planned, packs, draws)


def align(dit: DiT, block: int, features: int, weight: float) -> DiT:
    """The model with an alignment after one of its blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dit.alignment = Alignment(dit.config.dim, features, weight)
    dit.blocks[block].register_forward_hook(dit.alignment)
    return dit


def without_alignment(dit: DiT) -> DiT:
    """A model of its own with the same weights, the alignment left behind."""
    plain = DiT(dit.config)
    plain.load_state_dict({name: value for name, value in dit.state_dict().items() if "alignment." not in name})
    return plain.eval()
