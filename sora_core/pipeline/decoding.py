"""From finished latents to frames: what a process needs that only decodes, without text encoder and transformer."""

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from sora_core.pipeline.frames import to_frames
from sora_core.pipeline.open_weights import load_open_decoder
from sora_core.pipeline.parts import load_checkpoint_decoder
from sora_core.vae import Tiling, VideoAutoencoder
from sora_core.vae.whitening import Whitening

_LARGEST_TILE = 768
_SMALLEST_TILE = 64


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

    @property
    def origin(self) -> dict[str, str]:
        """What finished latents are tied to: the autoencoder, and the statistics by which they were whitened."""
        space = f"{self._vae.fingerprint} {self._whitening}"
        return {"space": hashlib.sha256(space.encode()).hexdigest()}

    def tilings(self) -> list[Tiling | None]:
        """How a video may be decoded: as was asked for, then in ever smaller tiles, which take less memory."""
        largest = self._tiling.side if self._tiling else _LARGEST_TILE
        sides = [side for side in (largest // 2, largest // 4) if side >= _SMALLEST_TILE]
        return [self._tiling, *(Tiling(side, side // 4) for side in sides)]

    def stream(
        self, latent: Float[Tensor, "c t h w"], tiling: Tiling | None = None
    ) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """Frames as the autoencoder makes them: the first alone, then those of a latent frame at a time."""
        given = self._whitening.invert(latent.to(self._device))
        for video in self._vae.decode_stream(given[None], tiling or self._tiling):
            yield to_frames(video[0])
