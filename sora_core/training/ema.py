"""An exponential moving average of weights: what is sampled from and served."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sora_core.training.sharding import local


def decay_at(step: int, decay: float) -> float:
    """The weight of the old average at a step (from 1): ``decay``, less at first so that the start is forgotten."""
    return min(decay, (step - 1) / (step + 9))


class Ema:
    """float32 averages of the parameters that learn, in shards like them; the first `update` copies them."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        self._live = {name: value for name, value in parameters if value.requires_grad}
        self._decay = decay
        self.average = {name: value.detach().float().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters as they are after a step (from 1)."""
        weight = 1 - decay_at(step, self._decay)
        live = [local(value.detach()).float() for value in self._live.values()]
        torch._foreach_lerp_([local(value) for value in self.average.values()], live, weight)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The model computes with the averages meanwhile; then both are back, untouched."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        """Swap numbers, not tensors: sharded weights are gathered from the memory they began in."""
        for name, parameter in self._live.items():
            held, average = local(parameter.detach()), local(self.average[name])
            before = held.clone()
            held.copy_(average)
            average.copy_(before)
