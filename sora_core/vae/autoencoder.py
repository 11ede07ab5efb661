"""The video autoencoder as the rest of the house uses it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sora_core.errors import InputError
from sora_core.shapes import Compression, PixelShape
from sora_core.vae import folder
from sora_core.vae.causal import channels_last, decode_chunks, encode_moments, frames_at_once
from sora_core.vae.tiles import Tiling, decode_tiles, encode_tiles


@dataclass(frozen=True, slots=True)
class Posterior:
    """What an encoder knows of a clip's latent: independent normals, float32."""

    mean: Float[Tensor, "b c t h w"]
    std: Float[Tensor, "b c t h w"]

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "b c t h w"]:
        """A draw; the noise comes from a CPU generator, so a seed means the same on every device."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + self.std * noise.to(self.mean.device)


class VideoAutoencoder:
    """A frozen AutoencoderKLWan; see `load`. It holds no state between calls, so calls may interleave."""

    def __init__(self, model: Any, *, source: str, fingerprint: str) -> None:
        config = model.config
        self.compression = Compression(
            time=2 ** sum(config.temperal_downsample),
            space=2 ** (len(config.dim_mult) - 1) * (config.patch_size or 1),
        )
        self.channels: int = config.z_dim
        self.source = source
        self.fingerprint = fingerprint
        self._model = model
        self._parameter: Tensor = next(model.parameters())

    @property
    def weights_bytes(self) -> int:
        """What its weights take in memory."""
        return sum(value.numel() * value.element_size() for value in self._model.parameters())

    @classmethod
    def load(
        cls, source: str = folder.DEFAULT, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> "VideoAutoencoder":
        """The autoencoder called ``source``.

        "default" is the one that ships with the project. Else a folder in diffusers' AutoencoderKLWan format or a
        pipeline folder with one in ``vae/``, an s3:// URI of either, or a hub id. CheckpointError when it isn't there
        or doesn't fit, strictly. ``dtype`` is what it computes in.
        """
        with folder.opened(source) as path:
            model = nn.Module.to(folder.read_model(path), device=device, dtype=dtype)  # without diffusers' warning
            return cls(channels_last(model), source=source, fingerprint=folder.fingerprint(path))

    @torch.no_grad()
    def encode(self, video: Float[Tensor, "b 3 t h w"], tiling: Tiling | None = None) -> Posterior:
        """The posterior of clips in [-1, 1]. Later frames never change earlier latents.

        With ``tiling`` frames larger than a tile are encoded tile by tile, in the memory of one tile. InputError
        unless t is 4k + 1 and the sides are multiples of 8 (of this autoencoder's own compression).
        """
        self.compression.latent(PixelShape(*video.shape[2:]), self.channels)
        video = video.to(self._parameter).contiguous(memory_format=torch.channels_last_3d)
        if tiling is None:
            mean, log_variance = encode_moments(self._model, video, self.compression.time)
        else:
            mean, log_variance = encode_tiles(self._model, video, tiling, self.compression)
        return Posterior(mean.float().contiguous(), (0.5 * log_variance.float()).exp().contiguous())

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, "b c lt lh lw"]) -> Float[Tensor, "b 3 t h w"]:
        """Pixels in [-1, 1], float32."""
        latent = self._given(latent)
        pixels = torch.cat(list(decode_chunks(self._model, latent, frames_at_once(self._model, latent))), dim=2)
        return pixels.float().clamp(-1, 1)

    def decode_stream(
        self, latent: Float[Tensor, "b c lt lh lw"], tiling: Tiling | None = None
    ) -> Iterator[Float[Tensor, "b 3 t h w"]]:
        """What `decode` gives, as soon as each latent frame is done: the first frame alone, then four at a time.

        With ``tiling`` frames larger than a tile are decoded tile by tile, in the memory of one tile.
        """
        given = self._given(latent)
        if tiling is None:
            chunks = decode_chunks(self._model, given)
        else:
            chunks = decode_tiles(self._model, given, tiling, self.compression.space)
        while True:
            with torch.no_grad():  # not around the yield: it would hold in the caller too
                pixels = next(chunks, None)
            if pixels is None:
                return
            yield pixels.float().clamp(-1, 1)

    def _given(self, latent: Tensor) -> Tensor:
        if latent.shape[1] != self.channels:
            raise InputError(
                f"a latent of shape {tuple(latent.shape)}: this autoencoder decodes (batch, {self.channels}, frames, "
                "height, width)"
            )
        return latent.to(self._parameter).contiguous(memory_format=torch.channels_last_3d)
