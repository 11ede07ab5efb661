"""How gradients move weights: Muon for the matrices inside the blocks, AdamW for the rest, one schedule for both."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from sora_core.errors import CheckpointError
from sora_core.training.sharding import gather_matrices, local, scatter_matrices, shard_group

# The quintic of Jordan et al. 2024, whose five iterations bring singular values of 0.003 and more near 1.
_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(
    matrices: Float[Tensor, "n r c"], precision: torch.dtype = torch.float32, iterations: int = 5
) -> Float[Tensor, "n r c"]:
    """Each matrix with its singular values brought into 0.7 .. 1.2, its singular vectors kept (Newton-Schulz).

    Products are taken in ``precision``: what 16 bits round is small beside the spread that the quintic leaves.
    """
    a, b, c = _QUINTIC
    x = (matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)).to(precision)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return orthogonal


class Muon(Optimizer):
    """Nesterov momentum, orthogonalized (Jordan et al. 2024). Matrices only; those of one shape are done together.

    Where they lie in shards, each worker orthogonalizes its share of them, whole; in ``precision``.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._precision = precision

        self.sound: Tensor | None = None
        """Whether the gradients may be used, as the device knows it; None where they may."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """Move the weights; there is no loss to evaluate again."""
        for group in self.param_groups:
            held = [parameter for parameter in group["params"] if parameter.grad is not None]
            for _, alike in groupby(sorted(held, key=lambda p: tuple(p.shape)), key=lambda p: tuple(p.shape)):
                self._step_alike(list(alike), group)

    def _step_alike(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        momentum, gradients = group["momentum"], [local(p.grad) for p in parameters if p.grad is not None]
        buffers = [local(self._buffer(parameter)) for parameter in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)
        rows, columns = parameters[0].shape
        scale = group["lr"] * math.sqrt(max(1.0, rows / columns))
        updates = _orthogonal_updates(torch.stack(list(ahead)), parameters[0], self._precision)
        held = [local(parameter) for parameter in parameters]
        if self.sound is not None:
            updates.masked_fill_(~self.sound, 0.0)
        if group["weight_decay"]:
            kept = torch.full((), 1 - group["lr"] * group["weight_decay"], device=updates.device)
            torch._foreach_mul_(held, kept if self.sound is None else torch.where(self.sound, kept, 1.0))
        torch._foreach_add_(held, list(updates.unbind()), alpha=-scale)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _orthogonal_updates(
    held: Float[Tensor, "n r c"], parameter: Tensor, precision: torch.dtype
) -> Float[Tensor, "n r c"]:
    """`orthogonalize` of matrices like ``parameter``, of which ``held`` are the rows that this worker has."""
    group = shard_group(parameter)
    if group is None:
        return orthogonalize(held, precision)
    whole = gather_matrices(held, parameter.shape[0], group)
    return scatter_matrices(orthogonalize(whole, precision), held, group)


@dataclass(frozen=True, slots=True)
class OptimRules:
    """Rates and schedule. ``muon_lr`` None leaves all weights to AdamW; ``warmup_clips`` counts clips seen.

    ``decay_steps`` are the last ones, over which the rates fall to 0; None lets them fall from the first.
    """

    lr: float
    muon_lr: float | None
    betas: tuple[float, float]
    weight_decay: float
    warmup_clips: int
    clip_norm: float
    decay_steps: int | None = None


def rate(step: int, num_steps: int, clips_seen: int, rules: "OptimRules") -> float:
    """The part of the full rate at a step (from 1): linear in clips seen at first, then half a cosine to 0.

    With ``decay_steps`` it stays whole until then and falls in a line (Hu et al. 2024, warm-up-stable-decay), so that
    a run's length can be decided while it runs.
    """
    warm = min(1.0, clips_seen / rules.warmup_clips) if rules.warmup_clips else 1.0
    if rules.decay_steps is not None:
        return warm * min(1.0, max(0.0, (num_steps + 1 - step) / rules.decay_steps))
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 1) / num_steps)))


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon takes a parameter: a matrix inside a block (modulation tables and factors of LoRA aren't)."""
    return name.startswith("blocks.") and parameter.ndim == 2 and "lora_" not in name


_SLOTS = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "muon": {"momentum_buffer"}}


class _AdamW(AdamW):
    """``found_inf`` 1 leaves weights and state as they are: torch's own name for what the device found."""

    found_inf: Tensor | None = None


class Optimizers:
    """The optimisers of the parameters of a model that learn, moved as one; Muon's products are in ``precision``."""

    def __init__(self, model: nn.Module, rules: OptimRules, precision: torch.dtype = torch.float32) -> None:
        self._rules = rules
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        hidden = [p for name, p in named if rules.muon_lr is not None and is_hidden_matrix(name, p)]
        self._in_muon = {id(parameter) for parameter in hidden}
        rest = [parameter for _, parameter in named if id(parameter) not in self._in_muon]
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in named}
        self.parameters = [parameter for _, parameter in named]
        self.parts: dict[str, _AdamW | Muon] = {
            "adamw": _AdamW(rest, lr=rules.lr, betas=rules.betas, weight_decay=rules.weight_decay, fused=True)
        }
        self._full_rate = {"adamw": rules.lr}
        if rules.muon_lr is not None and hidden:
            self.parts["muon"] = Muon(hidden, lr=rules.muon_lr, weight_decay=rules.weight_decay, precision=precision)
            self._full_rate["muon"] = rules.muon_lr

    def clip(self, factor: Tensor | float = 1.0) -> Float[Tensor, ""]:
        """Scale the gradients by ``factor``, and down to the greatest norm allowed; the norm that they had then."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        found = nn.utils.get_total_norm(gradients)
        norm: Tensor = factor * (found.full_tensor() if isinstance(found, DTensor) else found)
        down = (self._rules.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([local(gradient) for gradient in gradients], factor * down)
        return norm

    def step(self, part_of_rate: float, sound: Bool[Tensor, ""] | None = None) -> None:
        """Move the weights by this part of the full rates; not where the device knows that ``sound`` is false."""
        for name, optimizer in self.parts.items():
            for group in optimizer.param_groups:
                group["lr"] = part_of_rate * self._full_rate[name]
            if isinstance(optimizer, Muon):
                optimizer.sound = sound
            else:
                optimizer.found_inf = None if sound is None else (~sound).float()
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Every state tensor as ``parameter/state``: names that no split among workers changes."""
        return {
            f"{self._names[parameter]}/{key}": value
            for optimizer in self.parts.values()
            for parameter, values in optimizer.state.items()
            for key, value in values.items()
        }

    def make_room(self, names: Iterable[str]) -> None:
        """Give `state` zeros of these names, to be written over. CheckpointError when they are of other optimisers."""
        by_name = {name: parameter for parameter, name in self._names.items()}
        for key in names:
            name, _, slot = key.rpartition("/")
            if name not in by_name:
                raise CheckpointError(
                    f"the optimiser state names {name!r}, which this model hasn't; use its own config"
                )
            parameter = by_name[name]
            part = "muon" if id(parameter) in self._in_muon else "adamw"
            if slot not in _SLOTS[part]:
                raise CheckpointError(
                    f"{name} was moved by another optimiser (its state is {slot!r}), now by {part}: "
                    "restore optimizer.muon_lr, or choose another output"
                )
            room = torch.zeros((), device=parameter.device) if slot == "step" else torch.zeros_like(parameter)
            self.parts[part].state[parameter][slot] = room.detach()
