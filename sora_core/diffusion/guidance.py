"""Classifier-free guidance (Ho & Salimans 2022).

It may act in an interval of noise levels only (Kynkäänniemi et al. 2024) and be rescaled (Lin et al. 2023).
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sora_core.errors import InputError


@dataclass(frozen=True, slots=True)
class Guidance:
    """How strongly a sample leans to its prompt, and between which noise levels; scale 1 is the prompt alone."""

    scale: float = 1.0
    rescale: float = 0.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise InputError(f"guidance scale {self.scale}: give a finite number")
        if not 0 <= self.rescale <= 1:
            raise InputError(f"guidance rescale {self.rescale}: give a number from 0 to 1")
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(f"guidance interval {self.low} to {self.high}: give 0 <= low <= high <= 1")

    def active(self, sigma: float) -> bool:
        """Whether a step at this noise level needs the unconditional branch."""
        return self.scale != 1.0 and self.low <= sigma <= self.high


def guide(
    cond: Float[Tensor, "..."], uncond: Float[Tensor, "..."], scale: float, rescale: float = 0.0
) -> Float[Tensor, "..."]:
    """``uncond + scale (cond - uncond)`` of one clip, a part ``rescale`` of it brought to the spread of ``cond``."""
    guided = uncond + scale * (cond - uncond)
    if rescale == 0.0:
        return guided
    matched = guided * (cond.std() / guided.std())
    return rescale * matched + (1 - rescale) * guided
