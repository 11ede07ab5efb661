"""One worker's model, average and optimisers, and the step that moves them."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from sora_core.diffusion import condition
from sora_core.dit.model import DiT
from sora_core.nn.transfer import Arriving, upload
from sora_core.training.draws import Draw
from sora_core.training.ema import Ema
from sora_core.training.fill import Rows, fill
from sora_core.training.gradients import Gradients, ShardedGradients, SummedGradients
from sora_core.training.optim import Optimizers, OptimRules, rate
from sora_core.training.parallel import ALONE, Workers, gather
from sora_core.training.plan import PlannedStep
from sora_core.training.sharding import shard
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
    """Holds float32 masters, whole or in shards; matrices multiply in ``precision``. Workers that hold the same weights
    keep them equal, bit for bit, for all apply the same sums. A worker with several packs a step accumulates their
    gradients."""

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
        workers: Workers = ALONE,
        rows: Rows | None = None,
    ) -> None:
        """With ``rows`` the model has no numbers yet: each worker puts its own into its shards."""
        self.dit = (dit if rows is not None else dit.to(device, torch.float32)).train()
        self.objective = objective
        self.workers = workers
        if workers.tokens is not None:
            self.dit.attend_across(workers.tokens)
        self._gradients: Gradients
        if workers.weights is None:
            learning = [parameter for parameter in self.dit.parameters() if parameter.requires_grad]
            self._gradients = SummedGradients(learning, num_numbers=3)
        else:
            sharded = shard(self.dit, workers.weights, precision)
            if rows is not None:
                self.dit.to_empty(device=device)
                fill(self.dit, rows)
            self._gradients = ShardedGradients(sharded)
        self.optimizers = Optimizers(self.dit, rules, precision)
        self.ema = Ema(self.dit.named_parameters(), ema_decay)
        self.device = device
        self.precision = precision
        self._rules = rules
        self._num_steps = num_steps
        self._sound = torch.ones((), dtype=torch.bool, device=device)

    def step(
        self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw], *, flag: bool = False
    ) -> StepResult:
        """`launch` a step and wait for what it came to."""
        return self.launch(planned, packs, draws, flag=flag).result()

    def launch(
        self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw], *, flag: bool = False
    ) -> "Launched":
        """Learn from this worker's packs and everybody else's; a clip that couldn't be read is missing from its pack.

        Nobody waits for the device. After a loss or gradient that isn't finite no weight moves any more, in this step
        and in those launched after it: `Launched.result` tells.
        """
        packs = self._read_by_all(planned, packs)
        learned = self._backward(planned, packs, draws)
        total = torch.cat([part.losses for part in learned]).sum() if learned else torch.zeros((), device=self.device)
        read = sum(len(pack) for pack in packs) if self.workers.context_rank == 0 else 0
        counts = upload(torch.tensor([float(flag), read]), self.device)
        summed, flags, num_clips = self._gradients.sum_over_workers(torch.cat([total[None], counts])).unbind()
        loss = summed / num_clips.clamp(min=1)
        norm = self.optimizers.clip(planned.num_clips / num_clips.clamp(min=1))
        self._sound = self._sound & loss.isfinite() & norm.isfinite()
        part = rate(planned.step, self._num_steps, planned.after.clips, self._rules)
        self.optimizers.step(part, self._sound)
        self.ema.update(planned.step)
        whole = [self._over_context(one.losses) for one in learned]
        numbers = torch.cat([torch.stack([loss, norm, flags, num_clips]), *whole])
        clips = tuple(pair for pack in packs for pair in pack)
        tasks = tuple(task for one in learned for task in one.tasks)
        return Launched(planned, clips, tasks, part, Arriving(numbers))

    @torch.no_grad()
    def judge(self, packs: Iterable[Sequence[Task]]) -> list[list[float]]:
        """The losses of this worker's packs of tasks by the weights as they are; all workers call it together."""
        judged = []
        for tasks in self.workers.in_step(packs):
            losses = self._over_context(self._losses(tasks or [self._idle]))
            if tasks:
                judged.append(losses)
        numbers = iter(torch.cat(judged).cpu().tolist()) if judged else iter(())
        return [list(islice(numbers, len(losses))) for losses in judged]

    def _backward(self, planned: PlannedStep, packs: Sequence[Slots], draws: Sequence[Draw]) -> "list[_Learned]":
        """Add up the gradients of this worker's packs to that of the step's mean loss.

        Sharded weights are gathered by all workers at once, so one with fewer packs computes on nothing meanwhile.
        """
        self._gradients.zero()
        learned = []
        full = [pack for pack in packs if pack]
        shares = planned.share(self.workers.layout.data_workers)
        rounds = len(full) if self.workers.weights is None else max(map(len, shares))
        for number in range(rounds):
            self._gradients.before_backward(last=number == rounds - 1)
            if number < len(full):
                tasks = [self.objective.task(example, draws[slot]) for slot, example in full[number]]
                losses = self._losses(tasks)
                (losses.sum() / planned.num_clips).backward()
                learned.append(_Learned(tasks, losses.detach()))
            else:
                (self._losses([self._idle]).sum() * 0).backward()
        return learned

    def _read_by_all(self, planned: PlannedStep, packs: Sequence[Slots]) -> Sequence[Slots]:
        """The packs without clips that some worker that shares them couldn't read: their tokens must stay the same."""
        if self.workers.tokens is None:
            return packs
        mine = torch.zeros(planned.num_clips)
        mine[[slot for pack in packs for slot, _ in pack]] = 1
        read = upload(mine, self.device)
        dist.all_reduce(read, op=dist.ReduceOp.MIN, group=self.workers.tokens)
        by_all = {slot for slot, found in enumerate(read.cpu().tolist()) if found}
        return [[(slot, example) for slot, example in pack if slot in by_all] for pack in packs]

    def _losses(self, tasks: Sequence[Task]) -> Float[Tensor, " n"]:
        context = self.workers.context_rank, self.workers.layout.context
        return task_losses(self.dit, tasks, self.objective.patch, self.device, self.precision, context)

    def _over_context(self, losses: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Whole losses from what each worker of a pack found in its tokens."""
        if self.workers.tokens is not None:
            dist.all_reduce(losses, group=self.workers.tokens)
        return losses

    @cached_property
    def _idle(self) -> Task:
        """The smallest task that gives every worker of a pack a token."""
        config, patch = self.dit.config, self.objective.patch
        width = patch.width * self.workers.layout.context
        empty = torch.zeros(config.in_channels, patch.time, patch.height, width)
        return self.objective.noised(empty, 1.0, 0, condition.none(*empty.shape[1:]), self.objective.null_text)


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """A pack's tasks and their losses, which stay on the device until somebody asks."""

    tasks: Sequence[Task]
    losses: Float[Tensor, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Launched:
    """A step that the device may not have come to yet; ``clips`` are those read, with their slots."""

    planned: PlannedStep
    clips: Slots
    tasks: Sequence[Task]
    part_of_rate: float
    numbers: Arriving

    def result(self) -> StepResult:
        """What it came to. NonFiniteLoss, on every worker, names the step and the clips; no weight moved in it, nor
        after it."""
        loss, norm, flags, num_clips, *losses = self.numbers.tolist()
        clips = tuple(
            ClipLoss(float(torch.as_tensor(task.clip.sigma).max()), (frames, height, width), own)
            for task, own in zip(self.tasks, losses, strict=True)
            for _, frames, height, width in [task.clip.latent.shape]
        )
        planned = self.planned
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise _non_finite(planned.step, loss, norm, _at_fault(planned, self.clips, clips))
        return StepResult(loss, norm, self.part_of_rate, int(flags), planned.num_clips - int(num_clips), clips)


def _at_fault(planned: PlannedStep, read: Slots, clips: Sequence[ClipLoss]) -> list[str]:
    """Clips, of all workers, whose own loss isn't finite, each with its pack."""
    mine = [
        f"{example.clip_id} in pack {bisect_right(planned.first_slots, slot)} of {len(planned.packs)}"
        for (slot, example), clip in zip(read, clips, strict=True)
        if not math.isfinite(clip.loss)
    ]
    return list(dict.fromkeys(clip for clips in gather(mine) for clip in clips))


def _non_finite(step: int, loss: float, norm: float, clips: Sequence[str]) -> NonFiniteLoss:
    at_fault = ", ".join(clips) or "no clip alone, so the gradients"
    return NonFiniteLoss(
        f"step {step}: loss {loss}, gradient norm {norm}; at fault: {at_fault}. The weights are unchanged: lower the "
        "rates, set precision=float32 or drop those clips, and run the same command again"
    )
