"""Solvers against a flow whose end is known: data of one Gaussian, where velocity and path are formulas."""

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from sora_core.diffusion import flow
from sora_core.diffusion.solvers import SOLVERS, make_solver, num_steps_of, sigmas
from sora_core.errors import InputError

Velocity = Callable[[Tensor, float], Tensor]
SHAPE = (1, 2, 3, 4, 5)
MEAN = flow.noise(7, SHAPE).double()
START = flow.noise(8, SHAPE).double()


def gaussian(std: float) -> Velocity:
    """Exact velocity for data from N(MEAN, std^2): E[noise - x | x_sigma]."""

    def velocity(x: Tensor, sigma: float) -> Tensor:
        off = x - (1 - sigma) * MEAN.to(x)
        variance = (1 - sigma) ** 2 * std**2 + sigma**2
        return sigma / variance * off - MEAN.to(x) - (1 - sigma) * std**2 / variance * off

    return velocity


def solve(name: str, levels: Tensor, velocity: Velocity, x: Tensor = START) -> Tensor:
    solver = make_solver(name, levels)
    while not solver.done:
        x = solver.step(x, velocity(x, solver.sigma))
    return x


def error(name: str, steps: int, std: float = 0.5) -> float:
    exact = MEAN + std * START
    return float((solve(name, sigmas(steps), gaussian(std)) - exact).norm() / exact.norm())


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ab2", 2), ("heun", 2), ("unipc", 2)])
def test_error_falls_at_the_order_of_the_solver(name: str, order: int) -> None:
    assert math.log2(error(name, 80) / error(name, 160)) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_one_step_is_exact_where_paths_are_straight(name: str, steps: int) -> None:
    """Data of one point: every path is a line to it, so any number of steps ends there."""
    end = solve(name, sigmas(steps, shift=3.0), gaussian(0.0))
    torch.testing.assert_close(end, MEAN, rtol=0, atol=1e-5 if name == "unipc" else 1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_given_values_stay_where_their_velocity_is_zero(name: str) -> None:
    x = solve(name, sigmas(6, 3.0), lambda x, _: torch.zeros_like(x))
    torch.testing.assert_close(x, START, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "steps", "evaluations"), [("euler", 7, 7), ("ab2", 7, 7), ("unipc", 7, 7), ("heun", 7, 13)]
)
def test_progress_counts_every_evaluation(name: str, steps: int, evaluations: int) -> None:
    solver, x, levels = make_solver(name, sigmas(steps)), START, []
    assert solver.num_evaluations == evaluations
    while not solver.done:
        assert solver.evaluation == len(levels)
        levels.append(solver.sigma)
        x = solver.step(x, x)
    assert solver.evaluation == len(levels) == evaluations
    assert levels == sorted(levels, reverse=True)
    assert min(levels) > 0


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("euler", FlowMatchEulerDiscreteScheduler(shift=3.0)),
        ("heun", FlowMatchHeunDiscreteScheduler()),
        ("unipc", UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)),
    ],
    ids=["euler", "heun", "unipc"],
)
def test_solver_equals_the_peers_scheduler(name: str, peer: object, steps: int) -> None:
    """On the peer's own grid; its timesteps are rounded to integers, so the velocity reads the grid instead."""
    velocity = gaussian(0.5)
    if name == "euler":
        peer.set_timesteps(sigmas=torch.linspace(1, 0, steps + 1)[:-1].tolist())
    else:
        peer.set_timesteps(steps)
    repeated = peer.sigmas.double()
    levels = repeated.unique().flip(0) if name == "heun" else repeated
    ours, theirs = START.float(), START.float()
    solver = make_solver(name, levels)
    for time in peer.timesteps:
        assert not solver.done
        theirs = peer.step(velocity(theirs, solver.sigma), time, theirs).prev_sample
        ours = solver.step(ours, velocity(ours, solver.sigma))
    assert solver.done
    assert (ours - theirs).norm() / theirs.norm() < 5e-6


def test_shift_once_gives_the_peers_grid() -> None:
    peer = FlowMatchEulerDiscreteScheduler(shift=5.0)
    peer.set_timesteps(sigmas=torch.linspace(1, 0, 13)[:-1].tolist())
    torch.testing.assert_close(sigmas(12, 5.0).float(), peer.sigmas, rtol=0, atol=2e-7)


def test_wrong_solver_or_steps_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of euler, ab2, heun, unipc"):
        make_solver("rk45", sigmas(3))
    with pytest.raises(InputError, match="0 steps"):
        sigmas(0)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_restored_solver_goes_on_bit_for_bit(name: str) -> None:
    """Wherever it was interrupted, between the two halves of a step too."""
    levels, velocity = sigmas(5, 3.0), gaussian(0.5)
    whole = solve(name, levels, velocity)
    for stop in range(1, make_solver(name, levels).num_evaluations):
        first, x = make_solver(name, levels), START
        for _ in range(stop):
            x = first.step(x, velocity(x, first.sigma))
        second = make_solver(name, levels)
        second.restore(first.state())
        assert second.evaluation == stop
        while not second.done:
            x = second.step(x, velocity(x, second.sigma))
        assert torch.equal(x, whole)


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.7, 1.0])
def test_a_start_below_noise_runs_the_last_steps_of_the_same_grid(strength: float) -> None:
    levels, whole = sigmas(10, 3.0, strength), sigmas(10, 3.0)
    assert len(levels) - 1 == num_steps_of(10, strength) == round(10 * strength)
    torch.testing.assert_close(levels, whole[-len(levels) :])


def test_a_start_between_two_steps_takes_one_more() -> None:
    levels = sigmas(10, 1.0, 0.45)
    assert (levels[0].item(), len(levels) - 1) == (0.45, 5)
