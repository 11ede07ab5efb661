"""From finished latents to frames: what a process needs that only decodes, without text encoder and transformer."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from sora_core.pipeline.frames import to_frames
from sora_core.pipeline.open_weights import load_open_decoder
from sora_core.pipeline.parts import load_checkpoint_decoder
from sora_core.vae import Tiling, VideoAutoencoder
from sora_core.vae.whitening import Whitening


class FrameDecoder:
    """Streams the frames of whitened latents; ``name`` is the model whose latents these are."""

    def __init__(
        self, name: str, vae: VideoAutoencoder, whitening: Whitening, device: str = "cpu", tiling: Tiling | None = None
    ) -> None:
        """The autoencoder lies on ``device`` already; frames larger than a tile are decoded tile by tile."""
        self.name = name
        self._vae = vae
        self._whitening = whitening
        self._device = device
        self._tiling = tiling

    @classmethod
    def load(cls, uri: str, device: str, tiling: Tiling | None = None) -> "FrameDecoder":
        """The decoder of the model that `Pipeline.load` finds at a URI; the same errors."""
        found = load_open_decoder(uri, device) or load_checkpoint_decoder(uri, device)
        return cls(*found, device, tiling)

    def stream(self, latent: Float[Tensor, "c t h w"]) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """Frames as the autoencoder makes them: the first alone, then those of a latent frame at a time."""
        given = self._whitening.invert(latent.to(self._device))
        for video in self._vae.decode_stream(given[None], self._tiling):
            yield to_frames(video[0])
