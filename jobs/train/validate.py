"""The loss on clips that training never sees, by noise level, and what their captions' words are worth."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from jobs.train.config import TrainConfig
from jobs.train.groups import example
from jobs.train.words import Swap, swaps
from sora_core.diffusion import condition
from sora_core.shards import Row
from sora_core.training.parallel import gather
from sora_core.training.step import Example, Task
from sora_core.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Judged:
    """Mean loss by sigma; by ``attribute/sigma`` how much greater it is when captions say another value of that
    attribute. Both are empty when there is nothing to judge by."""

    loss: Mapping[str, float] = field(default_factory=dict)
    word_gap: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Validation:
    """Clips of the validation split, each judged at the middle of every bin of sigma with noise of its own.

    ``swaps`` are the same clips with the same noise under captions that are wrong in one word.
    """

    examples: Sequence[Example]
    swaps: Sequence[Swap]
    sigma_bins: int
    pack_tokens: int

    @classmethod
    def of(cls, config: TrainConfig, rows: Sequence[Row], text_encoder: str) -> "Validation":
        swapped = swaps(rows, text_encoder) if config.validation.words else []
        return cls([example(row) for row in rows], swapped, config.validation.sigma_bins, config.pack_tokens)

    @property
    def sigmas(self) -> list[float]:
        return [(number + 0.5) / self.sigma_bins for number in range(self.sigma_bins)]

    @torch.no_grad()
    def run(self, trainer: Trainer) -> Judged:
        """What the averaged weights come to; every worker does its share, all get the result."""
        if not self.examples:
            return Judged()
        clips = [(number, "", example) for number, example in enumerate(self.examples)]
        clips += [(swap.clip, swap.attribute, swap.example) for swap in self.swaps]
        layout = trainer.workers.layout
        mine = clips[layout.data_rank :: layout.data_workers]
        with trainer.ema.swapped_in():
            judged = trainer.judge(pack for number, _, clip in mine for pack in self._packs(trainer, number, clip))
        losses = itertools.chain.from_iterable(judged)
        found = [((number, what), list(itertools.islice(losses, self.sigma_bins))) for number, what, _ in mine]
        everyone = dict(itertools.chain.from_iterable(gather(found)))
        right = {number: values for (number, what), values in everyone.items() if not what}
        gaps: dict[str, list[list[float]]] = {}
        for (number, what), values in everyone.items():
            if what:
                gaps.setdefault(what, []).append([a - b for a, b in zip(values, right[number], strict=True)])
        by_sigma = {what: self._means(each) for what, each in gaps.items()}
        flat = {f"{what}/{sigma}": gap for what, means in by_sigma.items() for sigma, gap in means.items()}
        return Judged(self._means(list(right.values())), flat)

    def _means(self, by_clip: Sequence[Sequence[float]]) -> dict[str, float]:
        columns = zip(*by_clip, strict=True)
        return {f"{sigma:.2f}": sum(each) / len(each) for sigma, each in zip(self.sigmas, columns, strict=True)}

    def _packs(self, trainer: Trainer, number: int, example: Example) -> Iterator[Sequence[Task]]:
        """One clip at each sigma, as many at once as a pack holds."""
        objective = trainer.objective
        latent = objective.clean(example, posterior_seed=number)
        nothing = condition.none(*latent.shape[1:])
        tasks = [
            objective.noised(latent, sigma, number * self.sigma_bins + level, nothing, example.text)
            for level, sigma in enumerate(self.sigmas)
        ]
        at_once = max(1, self.pack_tokens // len(tasks[0].target))
        for start in range(0, len(tasks), at_once):
            yield tasks[start : start + at_once]
