"""The loss on clips that training never sees, by noise level."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from jobs.train.config import TrainConfig
from sora_core.diffusion import condition
from sora_core.training.parallel import gather
from sora_core.training.step import Example, Task
from sora_core.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Validation:
    """Clips of the validation split, each judged at the middle of every bin of sigma with noise of its own."""

    examples: Sequence[Example]
    sigma_bins: int
    pack_tokens: int

    @classmethod
    def of(cls, config: TrainConfig, examples: Sequence[Example]) -> "Validation":
        return cls(examples, config.validation.sigma_bins, config.pack_tokens)

    @property
    def sigmas(self) -> list[float]:
        return [(number + 0.5) / self.sigma_bins for number in range(self.sigma_bins)]

    @torch.no_grad()
    def run(self, trainer: Trainer) -> dict[str, float]:
        """Mean loss of the averaged weights by sigma; every worker does its share, all get the result.

        Empty when there is nothing to judge by.
        """
        if not self.examples:
            return {}
        layout = trainer.workers.layout
        numbers = range(layout.data_rank, len(self.examples), layout.data_workers)
        with trainer.ema.swapped_in():
            judged = trainer.judge(pack for number in numbers for pack in self._packs(trainer, number))
        losses = [loss for pack in judged for loss in pack]
        mine = {sigma: [0.0, 0.0] for sigma in self.sigmas}
        for sigma, loss in zip(itertools.cycle(self.sigmas), losses, strict=False):
            mine[sigma][0] += loss
            mine[sigma][1] += 1
        everyone = gather(mine)
        return {
            f"{sigma:.2f}": sum(part[sigma][0] for part in everyone) / sum(part[sigma][1] for part in everyone)
            for sigma in self.sigmas
        }

    def _packs(self, trainer: Trainer, number: int) -> Iterator[Sequence[Task]]:
        """One clip at each sigma, as many at once as a pack holds."""
        objective, example = trainer.objective, self.examples[number]
        latent = objective.clean(example, posterior_seed=number)
        nothing = condition.none(*latent.shape[1:])
        tasks = [
            objective.noised(latent, sigma, number * self.sigma_bins + level, nothing, example.text)
            for level, sigma in enumerate(self.sigmas)
        ]
        at_once = max(1, self.pack_tokens // len(tasks[0].target))
        for start in range(0, len(tasks), at_once):
            yield tasks[start : start + at_once]
