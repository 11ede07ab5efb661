"""What the benchmark for a GPU proves first: on the CPU, on the pretend device, and on a GPU where there is one."""

import pytest
import torch

from benchmarks.gpu.checks import CHECKS
from tests.pretend import Pretend

ON_A_PRETEND = ("forward", "training", "bad_loss", "matrices", "snapshot")


@pytest.mark.parametrize("name", [*CHECKS])
def test_the_cpu_agrees_with_itself(name: str) -> None:
    CHECKS[name](torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*CHECKS])
def test_a_gpu_agrees_with_the_cpu(name: str) -> None:
    CHECKS[name](torch.device("cuda", 0))


@pytest.mark.parametrize("name", ON_A_PRETEND)
def test_a_pretend_device_agrees_with_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.checks._dtypes", lambda device: {torch.float32: 1e-4})
    with Pretend() as host:
        CHECKS[name](host.device)
