"""What the loops of one process compute on, in turns where memory is short."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from services.video.workers.failures import DeviceLost


class Device:
    """A device that a sampler and a decoder may share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._turn = threading.RLock()

    def check(self, error: Exception) -> None:
        """A kernel that fails may take the whole device with it, and then every job after it would fail too.

        DeviceLost when the device computes nothing any more.
        """
        try:
            torch.ones(1, device=self.name).add_(1).item()
        except Exception as fault:
            raise DeviceLost(f"{self.name} computes nothing any more after {error!r}") from fault

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step that waits while something needs the device alone."""
        with self._turn:
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing else steps meanwhile, and what torch keeps in reserve is free."""
        with self._turn:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            yield
