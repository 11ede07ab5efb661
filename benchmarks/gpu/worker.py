"""Runs stages one after another in one process, and writes what each has found as it goes."""

from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu import learn, speed
from benchmarks.gpu.checks import CHECKS
from benchmarks.gpu.layouts import TINY, WHOLE
from benchmarks.gpu.stage import Stage


def tests(stage: Stage) -> None:
    """The checks that are the tests marked ``gpu``."""
    for name, check in CHECKS.items():
        if name not in NUMBERS:
            stage.check(name, lambda check=check: check(stage.device))


NUMBERS = ("attention_kernels", "forward", "training")


def numbers(stage: Stage) -> None:
    """How far the device's numbers are from the CPU's, by dtype."""
    for name in NUMBERS:
        stage.check(name, lambda name=name: CHECKS[name](stage.device))


RUN: dict[str, Callable[[Stage], None]] = {
    "tests": tests, "numbers": numbers, "denoise": speed.denoise, "training": speed.training,
    "packing": speed.packing, "launches": speed.launches, "weights": speed.weights, "learn": learn.learn,
}  # fmt: skip


def main(out: str, device: str, tiny: str, inputs: str, end: str, *names: str) -> None:
    """Run these stages on a device until a time of the clock."""
    if tiny == "1":
        torch.set_num_threads(1)
    for name in names:
        scale = TINY if tiny == "1" else WHOLE
        stage = Stage(Path(out), name, torch.device(device), scale, Path(inputs) if inputs else None, float(end))
        stage.write("running")
        RUN[name](stage)  # what it raises ends this process; another goes on with the next stage
        stage.write("failed" if stage.failed else "done")
