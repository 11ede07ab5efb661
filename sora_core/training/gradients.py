"""Everybody's gradients, added up: in one buffer where each worker holds all weights, by shard where it doesn't."""

from collections.abc import Iterable
from typing import Protocol

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from sora_core.training.parallel import rank_and_size


class Gradients(Protocol):
    """What a step asks of the gradients."""

    def zero(self) -> None:
        """Forget the last step's gradients."""

    def before_backward(self, *, last: bool) -> None:
        """A pack's backward follows; ``last`` is this worker's last of the step."""

    def sum_over_workers(self, numbers: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Make the gradients everybody's, and add up ``numbers``, which stay on the device."""


class SummedGradients:
    """The gradients of whole parameters, float32, as views of one buffer: one collective a step, whose order of
    addition depends on the number of workers only."""

    def __init__(self, parameters: Iterable[nn.Parameter], num_numbers: int) -> None:
        held = list(parameters)
        sizes = [parameter.numel() for parameter in held]
        self._buffer = torch.zeros(sum(sizes) + num_numbers, device=held[0].device)
        *views, self._numbers = self._buffer.split([*sizes, num_numbers])
        for parameter, view in zip(held, views, strict=True):
            assert parameter.dtype == torch.float32, "masters are float32"
            parameter.grad = view.view_as(parameter)

    def zero(self) -> None:
        self._buffer.zero_()

    def before_backward(self, *, last: bool) -> None:
        """Nothing: gradients meet once a step."""

    def sum_over_workers(self, numbers: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        self._numbers.copy_(numbers)
        if rank_and_size()[1] > 1:
            dist.all_reduce(self._buffer)
        summed: Tensor = self._numbers.clone()
        return summed


class ShardedGradients:
    """The gradients of sharded parameters: added up by block in each backward, over replicas in the last alone."""

    def __init__(self, model: FSDPModule) -> None:
        self._model = model
        assert isinstance(model, nn.Module)
        self._parameters = list(model.parameters())

    def zero(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def before_backward(self, *, last: bool) -> None:
        self._model.set_requires_all_reduce(last)

    def sum_over_workers(self, numbers: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        dist.all_reduce(numbers)
        return numbers
