"""One worker's model, average and optimisers, and the step that moves them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core.dit.model import DiT
from sora_core.training.draws import Draw
from sora_core.training.ema import Ema
from sora_core.training.optim import Optimizers, OptimRules, rate
from sora_core.training.parallel import SummedGradients, gather
from sora_core.training.plan import PlannedStep
from sora_core.training.step import Example, NonFiniteLoss, Objective, task_losses

Slots = Sequence[tuple[int, Example]]
"""Clips of a pack, each with its slot in the step."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to, the same on every worker; ``flags`` counts the workers that raised theirs."""

    loss: float
    gradient_norm: float
    part_of_rate: float
    flags: int


class Trainer:
    """Holds float32 masters; matrices multiply in ``precision``. Every worker's weights stay equal, bit for bit."""

    def __init__(
        self,
        dit: DiT,
        objective: Objective,
        rules: OptimRules,
        *,
        num_steps: int,
        ema_decay: float,
        precision: torch.dtype,
        device: torch.device,
    ) -> None:
        self.dit = dit.to(device, torch.float32).train()
        self.objective = objective
        self.optimizers = Optimizers(self.dit, rules)
        self.ema = Ema(self.dit.named_parameters(), ema_decay)
        self.device = device
        self.precision = precision
        self._rules = rules
        self._num_steps = num_steps
        self._gradients = SummedGradients(self.dit.parameters(), num_numbers=2)

    def step(
        self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw], *, flag: bool = False
    ) -> StepResult:
        """Learn from this worker's packs and everybody else's.

        NonFiniteLoss, on every worker and before any weight moves, names the step and the clips.
        """
        self._gradients.zero()
        losses = [self._pack_backward(pack, draws, planned.num_clips) for pack in packs]
        total = torch.cat(losses).sum() if losses else torch.zeros((), device=self.device)
        summed, flags = self._gradients.sum_over_workers([total, torch.tensor(float(flag), device=self.device)])
        loss = float(summed) / planned.num_clips
        norm = self.optimizers.clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise _non_finite(planned.step, loss, norm, _at_fault(packs, losses))
        part = rate(planned.step, self._num_steps, planned.after.clips, self._rules.warmup_clips)
        self.optimizers.step(part)
        self.ema.update(planned.step)
        return StepResult(loss, norm, part, int(flags))

    def _pack_backward(self, pack: Slots, draws: Sequence[Draw], num_clips: int) -> Float[Tensor, " n"]:
        """Add a pack's part of the gradient of the step's mean loss; the loss of each of its clips."""
        tasks = [self.objective.task(example, draws[slot]) for slot, example in pack]
        losses = task_losses(self.dit, tasks, self.objective.patch, self.device, self.precision)
        (losses.sum() / num_clips).backward()
        return losses.detach()


def _at_fault(packs: Sequence[Slots], losses: Sequence[Tensor]) -> list[str]:
    """Clips, of all workers, whose own loss isn't finite."""
    pairs = [
        (example.clip_id, value)
        for pack, each in zip(packs, losses, strict=True)
        for (_, example), value in zip(pack, each.tolist(), strict=True)
    ]
    found = gather([clip for clip, value in pairs if not math.isfinite(value)])
    return [clip for clips in found for clip in clips]


def _non_finite(step: int, loss: float, norm: float, clips: Sequence[str]) -> NonFiniteLoss:
    at_fault = ", ".join(clips) or "no clip alone, so the gradients"
    return NonFiniteLoss(
        f"step {step}: loss {loss}, gradient norm {norm}; at fault: {at_fault}. The weights are unchanged: lower the "
        "rates, set precision=float32 or drop those clips, and run the same command again"
    )
