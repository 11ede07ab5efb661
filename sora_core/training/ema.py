"""An exponential moving average of weights: what is sampled from and served."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    """The weight of the old average at a step (from 1): ``decay``, less at first so that the start is forgotten."""
    return min(decay, (step - 1) / (step + 9))


class Ema:
    """float32 averages of the parameters that learn, on their device; the first `update` copies them."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        self._live = {name: value for name, value in parameters if value.requires_grad}
        self._decay = decay
        self.average = {name: value.detach().float().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters as they are after a step (from 1)."""
        weight = 1 - decay_at(step, self._decay)
        live = [value.detach().float() for value in self._live.values()]
        torch._foreach_lerp_(list(self.average.values()), live, weight)

    @torch.no_grad()
    def load(self, average: Mapping[str, Tensor]) -> None:
        """Take over a stored average of the same parameters."""
        assert average.keys() == self.average.keys()
        for name, value in average.items():
            self.average[name].copy_(value)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The model computes with the averages meanwhile; its own weights come back untouched."""
        own = {name: parameter.data for name, parameter in self._live.items()}
        try:
            for name, parameter in self._live.items():
                parameter.data = self.average[name]
            yield
        finally:
            for name, parameter in self._live.items():
                parameter.data = own[name]
