"""The pretend device refuses and notes what it is there for."""

import pytest
import torch

from sora_core.nn.transfer import Arriving, upload
from tests.pretend import LeftOnTheCpu, Pretend


def test_what_was_left_on_the_cpu_is_refused() -> None:
    with Pretend() as host:
        there = torch.ones(3, device=host.device)
        with pytest.raises(LeftOnTheCpu, match=r"\(3,\) on the CPU"):
            there + torch.ones(3)
        assert torch.equal((there + torch.tensor(1.0)).cpu(), torch.full((3,), 2.0)), "a number goes with the launch"


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x.repeat_interleave(torch.ones(3, dtype=torch.int64).pin_memory().to(x.device, non_blocking=True)),
        lambda x: x.cpu(),
        lambda x: torch.zeros(3).copy_(x),
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: torch.zeros(3).to(x.device),
        lambda x: torch.zeros(3).to(x.device, non_blocking=True),  # pageable
    ],
)
def test_a_wait_is_noted(wait) -> None:  # type: ignore[no-untyped-def]
    with Pretend() as host:
        there = upload(torch.tensor([1.0, 2.0, 3.0]), host.device)
        assert host.waits == []
        wait(there)
        assert host.waits
        assert host.reads == []


@pytest.mark.parametrize("ask", [lambda x: x.new_tensor([1.0]), lambda x: torch.tensor([1.0], device=x.device)])
def test_numbers_that_are_made_on_the_device_by_a_waiting_copy_are_refused(ask) -> None:  # type: ignore[no-untyped-def]
    with Pretend() as host:
        there = upload(torch.ones(3), host.device)
        with pytest.raises(NotImplementedError):
            ask(there)


def test_numbers_go_up_and_come_back_without_a_wait() -> None:
    with Pretend() as host:
        there = upload(torch.tensor([1.0, 2.0]), host.device)
        assert Arriving(2 * there).tolist() == [2.0, 4.0]
        assert (host.waits, len(host.reads)) == ([], 1)
        assert upload(there, host.device) is there
