"""Latents to about unit size and back, channel by channel, with statistics of the training set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core.errors import InputError
from sora_core.nn.transfer import upload

_LEAST_STD = 1e-6


@dataclass(frozen=True, slots=True)
class Whitening:
    """``(latent - mean) / std`` with one mean and one divisor a channel.

    A causal autoencoder's first frame stands for one picture, those after it for several: with ``later_mean`` and
    ``later_std`` they have statistics of their own.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    later_mean: tuple[float, ...] | None = None
    later_std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=0.0) <= 0:
            raise InputError(
                f"whitening with {len(self.mean)} means and divisors {self.std}: give one mean and one positive "
                "divisor a channel"
            )

    def apply(self, latent: Float[Tensor, "*b c t h w"]) -> Float[Tensor, "*b c t h w"]:
        """A clip (c, t, h, w) or a batch of them, as the diffusion model sees it."""
        mean, std = self._columns(latent)
        return (latent - mean) / std

    def invert(self, latent: Float[Tensor, "*b c t h w"]) -> Float[Tensor, "*b c t h w"]:
        """As the autoencoder's decoder takes it."""
        mean, std = self._columns(latent)
        return latent * std + mean

    def variances(self, power: float = 0.5) -> tuple[float, ...]:
        """Each channel's variance after `apply`, for divisors as `WhiteningStatistics.result` makes them: they tell the
        deviations that they were made of, ``std_c = (divisor_c / std_all^(1 - power))^(1 / power)``."""
        divisors = torch.tensor(self.std, dtype=torch.float64)
        together = divisors.pow(2 / power).mean().pow(power / 2)
        return _floats((divisors / together ** (1 - power)).pow(2 / power) / divisors.square())

    def with_later(self, later: "Whitening") -> "Whitening":
        """This one for first frames, another for those after them."""
        return replace(self, later_mean=later.mean, later_std=later.std)

    def _columns(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        if latent.shape[-4] != len(self.mean):
            raise InputError(
                f"a latent of {latent.shape[-4]} channels and statistics of {len(self.mean)}: they come from different "
                "autoencoders; use the manifest that the latents were written with"
            )

        def column(values: Sequence[float]) -> Tensor:
            return upload(torch.tensor(values, dtype=latent.dtype)[:, None, None, None], latent.device)

        mean, std = column(self.mean), column(self.std)
        if self.later_mean is None or self.later_std is None:
            return mean, std
        later = column(self.later_mean), column(self.later_std)
        first = torch.arange(latent.shape[-3], device=latent.device)[:, None, None] == 0
        return torch.where(first, mean, later[0]), torch.where(first, std, later[1])


class WhiteningStatistics:
    """Means and variances of latents, met one clip at a time, in any order and on any number of machines."""

    def __init__(self) -> None:
        self.count = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._squares = torch.zeros(0, dtype=torch.float64)  # sums of squared distances from the mean

    def update(self, latent: Float[Tensor, "c t h w"]) -> None:
        """Count a clip's posterior mean. InputError when a value of it isn't finite: it would make every one so."""
        values = latent.double().flatten(1)
        if not values.isfinite().all():
            raise InputError("a latent that isn't finite: leave the clip out, or encode it in float32")
        mean = values.mean(1)
        self._add(values.shape[1], mean, (values - mean[:, None]).square().sum(1))

    def merge(self, other: "WhiteningStatistics") -> None:
        """Count everything that ``other`` has met."""
        if other.count:
            self._add(other.count, other._mean, other._squares)

    def to_dict(self) -> dict[str, int | list[float]]:
        """Exact, as JSON can hold it."""
        return {"count": self.count, "mean": self._mean.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "WhiteningStatistics":
        """What `to_dict` gave."""
        statistics = cls()
        statistics.count = values["count"]
        statistics._mean = torch.tensor(values["mean"], dtype=torch.float64)
        statistics._squares = torch.tensor(values["squares"], dtype=torch.float64)
        return statistics

    def _add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Chan et al. 1979: exact for any split, and stable where sums of squares are not."""
        if not self.count:
            self.count, self._mean, self._squares = count, mean, squares
            return
        total = self.count + count
        difference = mean - self._mean
        self._squares = self._squares + squares + difference.square() * (self.count * count / total)
        self._mean = self._mean + difference * (count / total)
        self.count = total

    def result(self, power: float = 0.5) -> Whitening:
        """Divisors ``std_c^power * std_all^(1 - power)``: 1 makes every channel equal, 0 keeps their proportions.

        ``std_all`` is the root mean square of the channels' deviations. In between learns better than either end: a
        diffusion model then still sees which channels matter. InputError when no latent was counted.
        """
        if not self.count:
            raise InputError("no latents to take statistics of: every clip was dropped; see the ledger's reasons")
        if not (self._squares.isfinite().all() and self._mean.isfinite().all()):
            raise InputError("statistics of latents that aren't finite: curate the output again from its footage")
        variance = (self._squares / self.count).clamp(min=_LEAST_STD**2)
        std = variance.sqrt() ** power * variance.mean().sqrt() ** (1 - power)
        return Whitening(_floats(self._mean), _floats(std))


def _floats(values: Tensor) -> tuple[float, ...]:
    numbers: Sequence[float] = values.tolist()
    return tuple(numbers)
