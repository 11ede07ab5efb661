"""Averages of weights that are compared with the product's."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from sora_core.training.ema import Ema


def exponent(width: float) -> float:
    """``gamma`` of a power-law average whose relative standard deviation is ``width`` (Karras et al. 2024, eq. 126)."""
    t = width**-2
    roots = np.roots([1, 7, 16 - t, 12 - t])
    return float(roots.real.max())


class PowerEma(Ema):
    """A weight of ``(1 - 1/t)^(gamma + 1)`` for the old average at step t: it spans a fixed part of the run so far."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], width: float) -> None:
        super().__init__(parameters, decay=0.0)
        self._gamma = exponent(width)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters as they are after a step (from 1)."""
        live = [value.detach().float() for value in self._live.values()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - (1 - 1 / step) ** (self._gamma + 1))


class ConstantEma(Ema):
    """One weight for the old average at every step; the first copies the parameters."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters as they are after a step (from 1)."""
        live = [value.detach().float() for value in self._live.values()]
        weight = 1.0 if step == 1 else 1 - self._decay
        torch._foreach_lerp_(list(self.average.values()), live, weight)
