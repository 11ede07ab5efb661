"""Pictures to the image tokens that Wan 2.1's image-to-video models attend to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sora_core.errors import CheckpointError
from sora_core.text import load_strictly

# The states that these models read are those before the last layer.
_LAYER = -2


class ImageEncoder:
    """CLIP's vision tower and what brings pictures to its size; see `load`."""

    def __init__(self, model: nn.Module, processor: Any) -> None:
        self._model = model.eval().requires_grad_(False)
        self._processor = processor
        self._device = next(model.parameters()).device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> "ImageEncoder":
        """That of a pipeline folder (``image_encoder/`` and ``image_processor/``). CheckpointError without one."""
        import transformers

        what = f"the image encoder of {folder}"
        try:
            processor = transformers.CLIPImageProcessorPil.from_pretrained(folder / "image_processor")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{what} can't be loaded: {error}") from error
        model = load_strictly(transformers.CLIPVisionModel, folder / "image_encoder", what, dtype)
        return cls(model.to(device), processor)

    @torch.no_grad()
    def encode(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[Tensor, "k e"]:
        """The tokens of each picture, one after another, float32 on the CPU."""
        pixels = self._processor(images=list(pictures), return_tensors="pt").pixel_values
        parameter = next(self._model.parameters())
        states = self._model(pixels.to(self._device, parameter.dtype), output_hidden_states=True).hidden_states
        tokens: Tensor = states[_LAYER].flatten(0, 1).float().cpu()
        return tokens
