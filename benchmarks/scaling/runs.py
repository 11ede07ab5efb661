"""A training run without a cluster: the product's own trainer, plan and draws over clips in memory."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scaling.clean import CleanDiT
from benchmarks.scaling.clips import ClipSet
from sora_core.diffusion import condition
from sora_core.diffusion.flow import ShiftLaw, sample_sigma
from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.dit.model import DiT
from sora_core.precision import fast_dtype
from sora_core.training import references
from sora_core.training.draws import DrawRules, draw_step
from sora_core.training.optim import OptimRules
from sora_core.training.order import Ints
from sora_core.training.plan import Plan, PlannedStep, PlanRules
from sora_core.training.references import References
from sora_core.training.step import Example, Objective, task_losses
from sora_core.training.trainer import Trainer

CPU = torch.device("cpu")
SHIFT = 6.0
WITHOUT_END = 10**9
"""As the number of steps of the schedule: the rates stay constant after the warm-up."""

_LAW_POINTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What runs differ in; the defaults are those of ``jobs/configs/train.toml``."""

    schedule_steps: int = WITHOUT_END
    lr: float = 1.5e-3
    muon_lr: float | None = 0.02
    ema_decay: float = 0.995
    spread: float = 1.0
    shift: float = SHIFT
    given: Mapping[str, float] = field(default_factory=lambda: {"first_frame": 0.1})
    pack_tokens: int = 1280
    packs_per_step: int = 2
    warmup_clips: int = 500
    precision: torch.dtype = field(default_factory=lambda: fast_dtype("cpu"))
    clean: bool = False
    seed: int = 0


def dit_config(width: int, layers: int, clips: ClipSet) -> DiTConfig:
    """The project's transformer with heads of 32 for these clips."""
    channels, text_dim = clips.train[0].latent_mean.shape[0], clips.null_text.shape[1]
    return DiTConfig(
        num_attention_heads=width // 32, attention_head_dim=32, in_channels=channels, out_channels=channels,
        text_dim=text_dim, ffn_dim=4 * width, num_layers=layers, pooled_text=True,
    )  # fmt: skip


def fresh(config: DiTConfig, seed: int, *, clean: bool = False) -> DiT:
    """An untrained model of this seed; ``clean``: its head answers the clean latent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CleanDiT(config) if clean else DiT(config)


def make_trainer(model: Any, clips: ClipSet, recipe: Recipe, kind: type[Trainer] = Trainer) -> Trainer:
    """``model`` is a DiT or anything else that maps a pack to velocities."""
    rules = OptimRules(recipe.lr, recipe.muon_lr, (0.9, 0.95), 0.0, recipe.warmup_clips, 1.0)
    objective = Objective(model.config.patch, clips.whitening, ShiftLaw(recipe.shift), clips.null_text, recipe.spread)
    return kind(
        model,
        objective,
        rules,
        num_steps=recipe.schedule_steps,
        ema_decay=recipe.ema_decay,
        precision=recipe.precision,
        device=CPU,
    )


def steps(trainer: Trainer, clips: ClipSet, recipe: Recipe) -> Iterator[PlannedStep]:
    """Train without end; each step is done when it is given."""
    config = trainer.dit.config
    linear_work = float(3 * config.dim + config.ffn_dim) if isinstance(config, DiTConfig) else 1e6
    tokens = clips.tokens(config.patch)
    plan_rules = PlanRules(recipe.seed, recipe.pack_tokens, recipe.packs_per_step, linear_work)
    masks = {kind: share for kind, share in recipe.given.items() if kind != references.KIND}
    share = recipe.given.get(references.KIND, 0.0)
    frames = np.array([example.latent_mean.shape[1] for example in clips.train])
    pairs = References(clips.subjects, tokens, frames, share, recipe.seed) if share else None
    rules = DrawRules(recipe.seed, 0.1, masks)
    for planned in Plan(tokens, plan_rules, references=pairs).steps():
        packs = [
            list(enumerate(_examples(clips.train, pack, *drawn), start=first))
            for pack, drawn, first in zip(planned.packs, planned.references, planned.first_slots, strict=True)
        ]
        trainer.step(planned, packs, draw_step(rules, planned.step, planned.num_clips))
        yield planned


def _examples(clips: Sequence[Example], pack: Ints, chosen: Ints, frames: Ints) -> Iterator[Example]:
    """The clips of a pack, each with its reference."""
    for number, other, count in zip(pack.tolist(), chosen.tolist(), frames.tolist(), strict=True):
        yield clips[number] if other == references.NONE else clips[number].referring_to(clips[other], count)


def averaged(trainer: Trainer) -> DiT:
    """The model with its averaged weights."""
    with trainer.ema.swapped_in():
        return copy.deepcopy(trainer.dit).eval()


def trained(
    path: Path, dit: DiT, clips: ClipSet, recipe: Recipe, after: Callable[[Trainer, dict[str, Any]], None]
) -> DiT:
    """The averaged model of a whole run: from its file, or trained now, and then ``after`` hears what it took."""
    if path.exists():
        dit.load_state_dict(torch.load(path, weights_only=True))
        return dit.eval()
    trainer, start = make_trainer(dit, clips, recipe), time.process_time()
    for planned in steps(trainer, clips, recipe):
        if planned.step == recipe.schedule_steps:
            break
    spent = {"seconds": time.process_time() - start, "clips": planned.after.clips}
    dit = averaged(trainer)
    torch.save(dit.state_dict(), path)
    after(trainer, spent)
    return dit


def step_flops(config: DiTConfig, clips: ClipSet, planned: PlannedStep) -> float:
    """Operations of a training step, forward and backward, of its matrix products."""
    examples = [clips.train[number] for pack in planned.packs for number in pack]
    lengths = [example.latent_mean[0].numel() // 4 for example in examples]
    return 3 * flops(config, lengths, [len(example.text) for example in examples])


def law_sigmas(shift: float = SHIFT, spread: float = 1.0) -> list[float]:
    """Noise levels that stand for the law of training: the middles of equal shares of it."""
    u = (torch.arange(_LAW_POINTS, dtype=torch.float64) + 0.5) / _LAW_POINTS
    found: list[float] = sample_sigma(u, [1] * _LAW_POINTS, ShiftLaw(shift), spread).tolist()
    return found


@torch.no_grad()
def validate(
    trainer: Trainer, examples: Sequence[Example], sigmas: Sequence[float], pack_tokens: int = 2560
) -> list[float]:
    """Mean loss of the averaged weights at each noise level; every clip has its own fixed noise there."""
    objective = trainer.objective
    tasks = []
    for number, example in enumerate(examples):
        latent = objective.clean(example, posterior_seed=number)
        nothing = condition.none(*latent.shape[1:])
        for sigma in sigmas:
            noise_seed = number * 10_000 + round(1000 * sigma)
            tasks.append(objective.noised(latent, sigma, noise_seed, nothing, example.text))
    losses: list[float] = []
    with trainer.ema.swapped_in():
        while len(losses) < len(tasks):
            part, room = [], pack_tokens
            for task in tasks[len(losses) :]:
                room -= len(task.target)
                if part and room < 0:
                    break
                part.append(task)
            losses += task_losses(trainer.dit, part, objective.patch, CPU, trainer.precision).tolist()
    means: list[float] = torch.tensor(losses).view(len(examples), len(sigmas)).mean(0).tolist()
    return means
