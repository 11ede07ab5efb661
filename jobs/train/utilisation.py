"""How much of a device's matrix products a step makes use of."""

import time
from dataclasses import dataclass

import torch

from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.training.plan import PlannedStep

# A forward, and for the backward as much for the activations and as much again for the weights.
_PASSES, _PASSES_OF_AN_ADAPTER = 3, 2
_MEASURED_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """``text_tokens`` are a clip's on average; ``peak_flops`` is of all workers.

    What activation checkpointing computes a second time is not counted as use.
    """

    dit: DiTConfig
    text_tokens: float
    adapter: bool
    peak_flops: float

    def flops(self, planned: PlannedStep) -> float:
        """Operations of a step of all workers."""
        passes = _PASSES_OF_AN_ADAPTER if self.adapter else _PASSES
        text = round(self.text_tokens)
        lengths = [of_pack.tolist() for of_pack in planned.lengths]
        return passes * sum(flops(self.dit, of_pack, [text] * len(of_pack)) for of_pack in lengths)

    def used(self, planned: PlannedStep, seconds: float) -> float:
        """The part of the peak that a step of so many seconds used."""
        return self.flops(planned) / (seconds * self.peak_flops)


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of square matrices on this device: the best of a fraction of a second."""
    side, count = (8192, 8) if device.type == "cuda" else (1024, 1)
    left = torch.ones(side, side, dtype=dtype, device=device)
    times: list[float] = []
    while sum(times) < _MEASURED_S or len(times) < 2:
        start = time.perf_counter()
        for _ in range(count):
            product = left @ left
        float(product[0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    return count * 2 * side**3 / min(times)
