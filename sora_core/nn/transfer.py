"""Numbers to a device and back without the host waiting for either."""

import torch
from torch import Tensor


def upload(value: Tensor, device: torch.device | str) -> Tensor:
    """``value`` on a device. Out of memory that can't be paged, so the copy only takes its place in the device's queue:
    any other makes the host wait until the queue is empty."""
    where = torch.device(device)
    if where.type == "cpu" or value.device.type != "cpu":
        return value.to(where)
    return value.pin_memory().to(where, non_blocking=True)


class Arriving:
    """Numbers on their way to the host; `tolist` waits for them, and for nothing that was launched after them."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.to("cpu", non_blocking=True)  # torch takes pinned memory for it
        self._event = None
        if values.device.type == "cuda":
            self._event = torch.cuda.current_stream(values.device).record_event()

    def tolist(self) -> list[float]:
        """The numbers."""
        if self._event is not None:
            self._event.synchronize()
        numbers: list[float] = self._values.tolist()
        return numbers
