"""Numbers of a step are read a step late where a device is ahead, and never after what needs them."""

from dataclasses import dataclass
from typing import Any

import pytest

from jobs.train.late import Late


@dataclass
class Step:
    planned: int

    def result(self) -> int:
        return self.planned


@pytest.mark.parametrize(("lag", "settled"), [(0, [[1], [2], [3], []]), (1, [[], [1], [2, 3], []])])
def test_steps_settle_in_order_a_step_late_and_all_of_them_before_a_checkpoint(
    lag: int, settled: list[list[int]]
) -> None:
    late, found = Late(lag), []
    for number in (1, 2, 3):
        launched: Any = Step(number)
        late.add(launched, 0.0)
        found.append([done.result for done in late.settle(everything=number == 3)])
    found.append([done.result for done in late.settle(everything=True)])
    assert found == settled
