"""Solvers of the flow from noise to data.

Each is the state of one request, fed one velocity at a time, so requests at different steps share a packed forward.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sora_core.diffusion.flow import shifted
from sora_core.diffusion.multistep import Multistep, State
from sora_core.diffusion.unipc import UniPC
from sora_core.errors import InputError


def num_steps_of(num_steps: int, strength: float) -> int:
    """The steps that are run of ``num_steps`` when the sample starts from a share ``strength`` of them."""
    return math.ceil(round(strength * num_steps, 6))


def sigmas(num_steps: int, shift: float = 1.0, strength: float = 1.0) -> Float64[Tensor, " n_plus_1"]:
    """Noise levels 1 .. 0 of ``num_steps`` steps, even before the shift; of them those from ``strength`` down to 0."""
    if num_steps < 1:
        raise InputError(f"{num_steps} steps: give 1 or more")
    return shifted(torch.linspace(strength, 0, num_steps_of(num_steps, strength) + 1, dtype=torch.float64), shift)


@runtime_checkable
class Solver(Protocol):
    """One request's way from noise to data: read `sigma`, give the velocity there to `step`, until `done`."""

    @property
    def sigma(self) -> float:
        """The noise level at which the next velocity is wanted."""

    @property
    def num_evaluations(self) -> int:
        """Velocities wanted in all."""

    @property
    def evaluation(self) -> int:
        """Velocities taken so far."""

    @property
    def done(self) -> bool:
        """Whether the sample is data."""

    def step(self, x: Float[Tensor, "..."], velocity: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The sample at the next `sigma`, from the sample and its velocity at this one."""

    def state(self) -> State:
        """How far it came; `restore` goes on from there, bit for bit."""

    def restore(self, state: State) -> None:
        """Go on where another solver over the same grid was."""


class Euler(Multistep):
    """First order: ``x + h v``, with ``h`` the (negative) change of sigma."""

    def step(self, x: Float[Tensor, "..."], velocity: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        width = self._sigmas[self._index + 1] - self._sigmas[self._index]
        self._index += 1
        return x + width * velocity


class AdamsBashforth2(Multistep):
    """Second order from one velocity a step: the line through this velocity and the last, integrated over the step."""

    def __init__(self, sigmas: Float64[Tensor, " n_plus_1"]) -> None:
        super().__init__(sigmas)
        self._last: tuple[float, Tensor] | None = None

    def step(self, x: Float[Tensor, "..."], velocity: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        width = self._sigmas[self._index + 1] - self._sigmas[self._index]
        slope = velocity
        if self._last is not None:
            last_width, last_velocity = self._last
            slope = velocity + width / (2 * last_width) * (velocity - last_velocity)
        self._last = (width, velocity)
        self._index += 1
        return x + width * slope

    def state(self) -> State:
        if self._last is None:
            return super().state()
        width, velocity = self._last
        return super().state() | {"width": torch.tensor(width, dtype=torch.float64), "velocity": velocity}

    def restore(self, state: State) -> None:
        super().restore(state)
        self._last = (state["width"].item(), state["velocity"]) if "width" in state else None


class Heun:
    """Second order from two velocities a step; the last step is Euler's, for the velocity at sigma 0 is ill-defined."""

    def __init__(self, sigmas: Float64[Tensor, " n_plus_1"]) -> None:
        self._sigmas: list[float] = sigmas.tolist()
        self._index = 0
        self._start: tuple[Tensor, Tensor] | None = None

    @property
    def sigma(self) -> float:
        return self._sigmas[self._index + (self._start is not None)]

    @property
    def num_evaluations(self) -> int:
        return 2 * (len(self._sigmas) - 1) - 1

    @property
    def evaluation(self) -> int:
        return min(2 * self._index + (self._start is not None), self.num_evaluations)

    @property
    def done(self) -> bool:
        return self._index == len(self._sigmas) - 1

    def step(self, x: Float[Tensor, "..."], velocity: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        width = self._sigmas[self._index + 1] - self._sigmas[self._index]
        if self._start is not None:
            start, first_velocity = self._start
            self._start = None
            self._index += 1
            return start + width * (first_velocity + velocity) / 2
        if self._sigmas[self._index + 1] == 0:
            self._index += 1
        else:
            self._start = (x, velocity)
        return x + width * velocity

    def state(self) -> State:
        state = {"index": torch.tensor(self._index)}
        if self._start is not None:
            state["start"], state["velocity"] = self._start
        return state

    def restore(self, state: State) -> None:
        self._index = int(state["index"])
        self._start = (state["start"], state["velocity"]) if "start" in state else None


SOLVERS = ("euler", "ab2", "heun", "unipc")


def make_solver(name: str, sigmas: Float64[Tensor, " n_plus_1"]) -> Solver:
    """A fresh solver over these noise levels; InputError for an unknown name."""
    if name == "euler":
        return Euler(sigmas)
    if name == "ab2":
        return AdamsBashforth2(sigmas)
    if name == "heun":
        return Heun(sigmas)
    if name == "unipc":
        return UniPC(sigmas)
    raise InputError(f"solver {name!r}: choose one of {', '.join(SOLVERS)}")
