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
from sora_core.training.step import Example, NonFiniteLoss, Objective, Task, task_losses

Slots = Sequence[tuple[int, Example]]
"""Clips of a pack, each with its slot in the step."""


@dataclass(frozen=True, slots=True)
class ClipLoss:
    """The loss of one clip at the noise level that it was given; ``shape`` is its latent's (t, h, w)."""

    sigma: float
    shape: tuple[int, int, int]
    loss: float


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to, the same on every worker but for ``clips``, which are this worker's own.

    ``flags`` counts the workers that raised theirs; ``num_skipped`` the planned clips that nobody could read.
    """

    loss: float
    gradient_norm: float
    part_of_rate: float
    flags: int
    num_skipped: int
    clips: tuple[ClipLoss, ...]


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
        self._gradients = SummedGradients(self.optimizers.parameters, num_numbers=3)

    def step(
        self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw], *, flag: bool = False
    ) -> StepResult:
        """Learn from this worker's packs and everybody else's; a clip that couldn't be read is missing from its pack.

        NonFiniteLoss, on every worker and before any weight moves, names the step and the clips.
        """
        self._gradients.zero()
        learned = [self._pack_backward(pack, draws, planned.num_clips) for pack in packs if pack]
        total = torch.cat([part.losses for part in learned]).sum() if learned else torch.zeros((), device=self.device)
        counts = torch.tensor([float(flag), sum(len(pack) for pack in packs)], device=self.device)
        summed, flags, num_clips = self._gradients.sum_over_workers([total, *counts]).tolist()
        if 0 < num_clips < planned.num_clips:
            self._gradients.scale(planned.num_clips / num_clips)
        loss = summed / max(1.0, num_clips)
        norm = self.optimizers.clip()
        clips = [clip for part in learned for clip in part.clips()]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise _non_finite(planned.step, loss, norm, _at_fault(packs, clips))
        part = rate(planned.step, self._num_steps, planned.after.clips, self._rules.warmup_clips)
        self.optimizers.step(part)
        self.ema.update(planned.step)
        return StepResult(loss, norm, part, int(flags), planned.num_clips - int(num_clips), tuple(clips))

    def _pack_backward(self, pack: Slots, draws: Sequence[Draw], num_clips: int) -> "_Learned":
        """Add a pack's part of the gradient of the step's mean loss; the loss of each of its clips."""
        tasks = [self.objective.task(example, draws[slot]) for slot, example in pack]
        losses = task_losses(self.dit, tasks, self.objective.patch, self.device, self.precision)
        (losses.sum() / num_clips).backward()
        return _Learned(tasks, losses.detach())


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """A pack's tasks and their losses, which stay on the device until somebody asks."""

    tasks: Sequence[Task]
    losses: Float[Tensor, " n"]

    def clips(self) -> list[ClipLoss]:
        return [
            ClipLoss(float(torch.as_tensor(task.clip.sigma).max()), (frames, height, width), loss)
            for task, loss in zip(self.tasks, self.losses.tolist(), strict=True)
            for _, frames, height, width in [task.clip.latent.shape]
        ]


def _at_fault(packs: Sequence[Slots], clips: Sequence[ClipLoss]) -> list[str]:
    """Clips, of all workers, whose own loss isn't finite."""
    examples = [example for pack in packs for _, example in pack]
    pairs = zip(examples, clips, strict=True)
    found = gather([example.clip_id for example, clip in pairs if not math.isfinite(clip.loss)])
    return [clip for clips in found for clip in clips]


def _non_finite(step: int, loss: float, norm: float, clips: Sequence[str]) -> NonFiniteLoss:
    at_fault = ", ".join(clips) or "no clip alone, so the gradients"
    return NonFiniteLoss(
        f"step {step}: loss {loss}, gradient norm {norm}; at fault: {at_fault}. The weights are unchanged: lower the "
        "rates, set precision=float32 or drop those clips, and run the same command again"
    )
