"""How many steps of training this machine makes in a time: measured, so that an old machine ends in time, too.

``python -m jobs.train.rate SECONDS --config FILE.toml --set key=value ...`` says ``{"steps": ..., "step_s": ...}``.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from multiprocessing import get_context

import numpy as np
import torch

from jobs.launch import load_config
from jobs.train.config import TrainConfig
from jobs.train.loop import build
from jobs.train.start import First
from sora_core import checkpoint, precision
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.shapes import LatentShape
from sora_core.training.draws import draw_step
from sora_core.training.parallel import ALONE
from sora_core.training.plan import Plan
from sora_core.training.step import Example
from sora_core.vae.whitening import Whitening

_CPU = torch.device("cpu")
_SHAPES = ((1, 8, 8), (2, 8, 8), (3, 8, 8), (5, 8, 8))
"""Latents of 1, 5, 9 and 17 frames of 64x64, as the demo's clips are."""
_TEXT_TOKENS = 12
_MEASURED_S, _LEAST_STEPS = 4.0, 3
_SHARE = 0.8
"""The rest goes to what workers tell one another, to validation and to reading."""


def steps_within(seconds: float, config: TrainConfig) -> tuple[int, float]:
    """How many steps ``config`` makes here in so many seconds, and the seconds of one, all workers at work."""
    workers = config.max_workers
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        step_s = max(pool.map(_step_s, [config] * workers))
    return max(1, int(_SHARE * seconds / step_s)), step_s


def trial(config: TrainConfig, dit: DiTConfig, whitening: Whitening) -> Callable[[], object]:
    """Makes one step of training after another, on packs of random clips."""
    numbers = torch.Generator().manual_seed(config.seed)
    clips = [_example(index, dit, numbers) for index in range(16 * len(_SHAPES))]
    trainer = build(config, torch.zeros(2, dit.text_dim), First(DiT(dit), None), whitening, _CPU, ALONE)
    tokens = [dit.patch.grid(LatentShape(*clip.latent_mean.shape)).num_tokens for clip in clips]
    steps = Plan(np.array(tokens), config.plan_rules(dit)).steps()

    def step() -> object:
        planned = next(steps)
        packs = [
            list(enumerate((clips[number] for number in pack), start=first))
            for pack, first in zip(planned.packs, planned.first_slots, strict=True)
        ]
        return trainer.step(planned, packs, draw_step(config.draw_rules(), planned.step, planned.num_clips))

    return step


def _example(index: int, dit: DiTConfig, numbers: torch.Generator) -> Example:
    shape = (dit.in_channels, *_SHAPES[index % len(_SHAPES)])
    text = torch.randn(_TEXT_TOKENS, dit.text_dim, generator=numbers)
    return Example(str(index), torch.randn(shape, generator=numbers), torch.ones(shape), text)


def _step_s(config: TrainConfig) -> float:
    """Seconds of a step of one of the workers, which makes its share of the packs."""
    torch.set_num_threads(1)
    assert config.init is not None
    meta = checkpoint.read_meta(checkpoint.resolve(config.init))
    share = config.model_copy(
        update={
            "packs_per_step": max(1, config.packs_per_step // config.max_workers),
            "precision": precision.settle_alone(config.precision, _CPU),
        }
    )
    step = trial(share, DiTConfig.from_dict(meta.dit), Whitening(*astuple(meta.whitening)))
    step()  # the first one loads
    made, start = 0, time.monotonic()
    while made < _LEAST_STEPS or time.monotonic() - start < _MEASURED_S:
        step()
        made += 1
    return (time.monotonic() - start) / made


if __name__ == "__main__":
    steps, step_s = steps_within(float(sys.argv[1]), load_config("train", TrainConfig, sys.argv[2:]))
    sys.stdout.write(json.dumps({"steps": steps, "step_s": step_s}) + "\n")
