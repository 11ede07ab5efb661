"""UniPC of order 2 with the B2(h) function, on the data prediction of a flow (Zhao et al. 2023)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sora_core.diffusion.multistep import Multistep, State

# The log signal-to-noise ratio is infinite at pure noise: the first step starts this little below.
_LARGEST_SIGMA = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class _Step:
    """One step from ``start`` to ``end`` in lambda = log((1 - sigma) / sigma), and the data predicted at its start."""

    start: float
    end: float
    sample: Tensor
    data: Tensor
    order: int

    @property
    def h(self) -> float:
        return _log_snr(self.end) - _log_snr(self.start)

    def first_order(self) -> Tensor:
        """The exact solution for constant data."""
        return self.end / self.start * self.sample - (1 - self.end) * math.expm1(-self.h) * self.data

    def state(self, name: str) -> State:
        """Its fields under names that begin with ``name``."""
        grid = torch.tensor([self.start, self.end, self.order], dtype=torch.float64)
        return {f"{name}.grid": grid, f"{name}.sample": self.sample, f"{name}.data": self.data}

    @classmethod
    def of(cls, state: State, name: str) -> "_Step | None":
        """The step of that name, where there is one."""
        if f"{name}.grid" not in state:
            return None
        start, end, order = state[f"{name}.grid"].tolist()
        return cls(start, end, state[f"{name}.sample"], state[f"{name}.data"], int(order))


def _log_snr(sigma: float) -> float:
    if sigma == 0:
        return math.inf
    return math.log1p(-min(sigma, _LARGEST_SIGMA)) - math.log(min(sigma, _LARGEST_SIGMA))


class UniPC(Multistep):
    """A predictor, corrected by the next velocity at no extra evaluation; the first and last steps are of order 1."""

    def __init__(self, sigmas: Float64[Tensor, " n_plus_1"]) -> None:
        super().__init__(sigmas)
        self._last: _Step | None = None
        self._earlier: _Step | None = None

    def step(self, x: Float[Tensor, "..."], velocity: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        data = x - self.sigma * velocity
        if self._last is not None:
            x = self._correct(self._last, data)
        order = min(2, self.num_evaluations - self._index, self._index + 1)
        step = _Step(self.sigma, self._sigmas[self._index + 1], x, data, order)
        self._earlier, self._last = self._last, step
        self._index += 1
        return self._predict(step)

    def state(self) -> State:
        state = super().state()
        for name, step in (("last", self._last), ("earlier", self._earlier)):
            state |= {} if step is None else step.state(name)
        return state

    def restore(self, state: State) -> None:
        super().restore(state)
        self._last, self._earlier = _Step.of(state, "last"), _Step.of(state, "earlier")

    def _difference(self, step: _Step, earlier: _Step) -> tuple[float, Tensor]:
        """Where the earlier prediction lies in units of the step, and the divided difference to it."""
        ratio = (_log_snr(earlier.start) - _log_snr(step.start)) / step.h
        return ratio, (earlier.data - step.data) / ratio

    def _predict(self, step: _Step) -> Tensor:
        if step.order == 1:
            return step.first_order()
        assert self._earlier is not None
        _, difference = self._difference(step, self._earlier)
        return step.first_order() - (1 - step.end) * math.expm1(-step.h) * 0.5 * difference

    def _correct(self, step: _Step, data: Tensor) -> Tensor:
        """The end of the last step again, now that the data predicted there is known."""
        phi = math.expm1(-step.h)
        change = 0.5 * (data - step.data)
        if step.order == 2:
            assert self._earlier is not None
            ratio, difference = self._difference(step, self._earlier)
            # Order conditions: rho_1 + rho_2 = b_1 and ratio rho_1 + rho_2 = b_2.
            b_1 = (phi / -step.h - 1) / phi
            b_2 = 2 * ((phi / -step.h - 1) / -step.h - 0.5) / phi
            rho_1 = (b_2 - b_1) / (ratio - 1)
            change = rho_1 * difference + (b_1 - rho_1) * (data - step.data)
        return step.first_order() - (1 - step.end) * phi * change
