"""The state of a training run: one object that takes a step, saves itself and goes on."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.train_vae import crops
from jobs.train_vae.config import PhaseConfig, TrainVaeConfig
from jobs.train_vae.footage import Frames
from jobs.train_vae.progress import Progress
from sora_core import precision
from sora_core.shapes import Compression, PixelShape
from sora_core.vae import folder
from sora_core.vae.branches import open_branches
from sora_core.vae.causal import channels_last
from sora_core.vae.losses import autoencoding
from sora_core.vae.perceptual import PerceptualDistance
from sora_core.vae.trunk import trunk_decode, trunk_encode, trunk_parameters
from sora_core.vae.warm_start import warm_start

_FITTED_CLIPS = 400  # that the linear start is fitted to
_OPENED_CLIPS = 64  # that the norms are set by
_LEAST_RATE = 0.02  # where the cosine ends, in learning rates
_FIRST_FRAME_SHARE = 0.3  # of the frames that the perceptual term looks at
_LARGEST_GRADIENT = 1.0


def new_vae(config: TrainVaeConfig) -> Any:
    """The untrained network of a config, 4x8x8; its initial weights follow from the seed."""
    torch.manual_seed(config.seed)
    return folder.new_model(
        **config.layout.model_dump(mode="json"),
        temperal_downsample=[True, True],
        patch_size=2,
        in_channels=12,
        out_channels=12,
    )


class Trainer:
    """A network, its running average, optimiser and random numbers after ``step`` steps."""

    def __init__(self, config: TrainVaeConfig, runs: Mapping[str, list[Frames]]) -> None:
        """The config's precision is no longer ``auto``."""
        assert config.precision != "auto"
        self.config = config
        self._dtype = precision.dtype_of(config.precision)
        self.runs = runs
        self.step = 0
        self.rng = np.random.default_rng(config.seed)
        self.noise = torch.Generator().manual_seed(config.seed)
        self.model = channels_last(new_vae(config))
        self.average = new_vae(config)
        self.perceptual = PerceptualDistance()
        trunk = {id(parameter) for parameter in trunk_parameters(self.model)}
        groups: list[list[Tensor]] = [[], []]
        for parameter in self.model.parameters():
            groups[id(parameter) in trunk].append(parameter)
        # fmt: off
        self.optimiser = torch.optim.AdamW(
            [{"params": groups[0], "scale": 1.0}, {"params": groups[1], "scale": config.trunk_rate}],
            betas=(0.9, 0.98), weight_decay=1e-4,
        )
        # fmt: on

    def start(self) -> None:
        """Begin: as a trained linear codec, or at random."""
        frames = self.config.phases[0].frames
        if self.config.warm_start:
            warm_start(self.model, self.clips(_FITTED_CLIPS, frames))
            self._train_trunk()
            open_branches(self.model, self.clips(_OPENED_CLIPS, frames))
        self.average.load_state_dict(self.model.state_dict())

    def _train_trunk(self) -> None:
        """Adam on the mean squared error of the linear codec alone, cosine to zero: minutes that save hours."""
        config = self.config
        optimiser = torch.optim.Adam(trunk_parameters(self.model), lr=config.trunk_learning_rate, betas=(0.9, 0.97))
        progress = Progress("linear codec", config.trunk_steps)
        for step in range(config.trunk_steps):
            rise = min(1.0, (step + 1) / 20)
            _set_rate(optimiser, config.trunk_learning_rate * rise * _cosine(step / config.trunk_steps))
            clips = self.clips(config.trunk_batch, config.phases[0].frames)
            with precision.autocast("cpu", self._dtype):
                pixels = trunk_decode(self.model, trunk_encode(self.model, clips)).float()
            loss = (pixels - clips).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            progress.tick(loss.item())
        self.model.zero_grad()

    def advance(self) -> dict[str, float]:
        """Take one step; what it minimised, term by term."""
        config = self.config
        phase, step = self._phase()
        done = step / phase.steps
        rise = min(1.0, (step + 1) / phase.rise_steps)
        _set_rate(self.optimiser, phase.learning_rate * rise * (_LEAST_RATE + (1 - _LEAST_RATE) * _cosine(done)))
        clips = self.clips(phase.batch, phase.frames)
        looks = phase.perceptual_weight > 0 and done >= phase.perceptual_from
        losses = autoencoding(
            self.model,
            clips,
            torch.randn(self._latent_shape(clips), generator=self.noise),
            self.perceptual if looks else None,
            self._looked_at(phase.batch, phase.frames),
            precision=self._dtype,
        )
        terms = {
            "reconstruction": losses.reconstruction,
            "structure": config.ssim_weight * losses.structure,
            "kl": config.kl_weight * losses.kl,
            "perceptual": phase.perceptual_weight * losses.perceptual,
        }
        loss = torch.stack(list(terms.values())).sum()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.optimiser.step()
        self.step += 1
        self._follow(min(phase.ema_decay, (1 + step) / (10 + step)))
        return {"loss": loss.item()} | {name: term.item() for name, term in terms.items()}

    def _phase(self) -> tuple[PhaseConfig, int]:
        """The phase that the next step belongs to, and the steps taken in it."""
        step = self.step
        for phase in self.config.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise AssertionError(f"step {self.step} of {self.config.steps}")

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def clips(self, num: int, frames: int) -> Float[Tensor, "b 3 t h w"]:
        """The next ``num`` random crops of the training files and the controlled world."""
        config = self.config
        clips = crops.batch(self.runs, self.rng, num, frames, config.side, config.world_share)
        return clips.contiguous(memory_format=torch.channels_last_3d)

    def _latent_shape(self, clips: Tensor) -> tuple[int, ...]:
        shape = Compression().latent(PixelShape(*clips.shape[2:]), self.config.layout.z_dim)
        return len(clips), *shape.as_tuple()

    def _looked_at(self, num: int, frames: int) -> Tensor:
        first = self.rng.random(num) < _FIRST_FRAME_SHARE
        return torch.from_numpy(np.where(first, 0, self.rng.integers(0, frames, num)))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "config": self.config.model_dump(mode="json"),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.bit_generator.state,
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["rng"]
        self.noise.set_state(state["noise"])


def _cosine(done: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
