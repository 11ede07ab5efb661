"""What solvers share that take one velocity a step: the grid of sigmas and the place on it."""

import torch
from jaxtyping import Float64
from torch import Tensor

State = dict[str, Tensor]  # numbers are tensors without a side, so that files of tensors hold all of it


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

    def state(self) -> State:
        """How far it came; `restore` goes on from there, bit for bit."""
        return {"index": torch.tensor(self._index)}

    def restore(self, state: State) -> None:
        """Go on where another solver over the same grid was."""
        self._index = int(state["index"])
