"""What solvers share that take one velocity a step: the grid of sigmas and the place on it."""

from jaxtyping import Float64
from torch import Tensor


class Multistep:
    """A solver that takes one velocity a step."""

    def __init__(self, sigmas: Float64[Tensor, " n_plus_1"]) -> None:
        self._sigmas: list[float] = sigmas.tolist()
        self._index = 0

    @property
    def sigma(self) -> float:
        return self._sigmas[self._index]

    @property
    def num_evaluations(self) -> int:
        return len(self._sigmas) - 1

    @property
    def evaluation(self) -> int:
        return self._index

    @property
    def done(self) -> bool:
        return self._index == self.num_evaluations
