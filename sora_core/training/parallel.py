"""What data-parallel workers do together: one sum a step, of gradients and of the numbers that they report.

Each worker holds the whole model. Its gradients lie in one flat buffer, so the sum is one collective, and its order of
addition depends on the number of workers only. A sharded strategy would take this class's place.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


def rank_and_size() -> tuple[int, int]:
    """This worker's number and how many there are; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather(value: T) -> list[T]:
    """Everybody's value, by rank."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    values: list[T | None] = [None] * size
    dist.all_gather_object(values, value)
    return [item for item in values if item is not None]


class SummedGradients:
    """The gradients of replicated parameters, float32, as views of one buffer that `sum_over_workers` adds up."""

    def __init__(self, parameters: Iterable[nn.Parameter], num_numbers: int) -> None:
        held = list(parameters)
        sizes = [parameter.numel() for parameter in held]
        self._buffer = torch.zeros(sum(sizes) + num_numbers, device=held[0].device)
        *views, self._numbers = self._buffer.split([*sizes, num_numbers])
        for parameter, view in zip(held, views, strict=True):
            assert parameter.dtype == torch.float32, "masters are float32"
            parameter.grad = view.view_as(parameter)

    def zero(self) -> None:
        """Forget the last step's gradients."""
        self._buffer.zero_()

    def scale(self, factor: float) -> None:
        """Multiply all gradients."""
        self._buffer.mul_(factor)

    def sum_over_workers(self, numbers: Sequence[Tensor]) -> Float[Tensor, " k"]:
        """Add up everybody's gradients in place, and everybody's ``numbers``, which are returned on the CPU."""
        self._numbers.copy_(torch.stack(list(numbers)))
        if rank_and_size()[1] > 1:
            dist.all_reduce(self._buffer)
        summed: Tensor = self._numbers.to("cpu", copy=True)
        return summed
