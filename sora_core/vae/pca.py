"""The linear codec that a trained autoencoder has to beat: principal components of 8x8 blocks, in closed form.

Two bases: one for the first frame alone, one for the four frames of every later latent frame.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sora_core.shapes import Compression


@dataclass(frozen=True, slots=True)
class Basis:
    """An orthonormal basis of centred blocks: ``rows @ (block - mean)`` are the coefficients."""

    mean: Float[Tensor, " p"]
    rows: Float[Tensor, "c p"]

    def project(self, blocks: Float[Tensor, "... p"]) -> Float[Tensor, "... c"]:
        return (blocks - self.mean) @ self.rows.T

    def restore(self, coefficients: Float[Tensor, "... c"]) -> Float[Tensor, "... p"]:
        return coefficients @ self.rows + self.mean


def principal_components(blocks: Float[Tensor, "n p"], num: int) -> Basis:
    """The ``num`` directions of largest variance, largest first."""
    mean = blocks.mean(0)
    centred = (blocks - mean).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(blocks))
    return Basis(mean, vectors.flip(1)[:, :num].T.float().contiguous())


@dataclass(frozen=True, slots=True)
class PcaCodec:
    """Encodes clips of 4k + 1 frames to the latent shape of the autoencoder, linearly."""

    first: Basis
    later: Basis
    compression: Compression

    @classmethod
    def fit(
        cls, clips: Float[Tensor, "b 3 t h w"], channels: int, compression: Compression | None = None
    ) -> "PcaCodec":
        """The best linear codec for clips in [-1, 1] of ``time * k + 1`` frames, k >= 1; 4x8x8 by default."""
        compression = compression or Compression()
        first, later = to_blocks(clips, compression)
        return cls(
            principal_components(first.flatten(0, -2), channels),
            principal_components(later.flatten(0, -2), channels),
            compression,
        )

    def encode(self, clips: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c lt lh lw"]:
        first, later = to_blocks(clips, self.compression)
        latent = torch.cat((self.first.project(first), self.later.project(later)), dim=1)
        return torch.as_tensor(rearrange(latent, "b t h w c -> b c t h w"))

    def decode(self, latent: Float[Tensor, "b c lt lh lw"]) -> Float[Tensor, "b 3 t h w"]:
        latent = rearrange(latent, "b c t h w -> b t h w c")
        time, space = self.compression.time, self.compression.space
        first = rearrange(self.first.restore(latent[:, :1]), "b t h w (c y x) -> b c t (h y) (w x)", y=space, x=space)
        later = rearrange(
            self.later.restore(latent[:, 1:]), "b t h w (c s y x) -> b c (t s) (h y) (w x)", s=time, y=space, x=space
        )
        return torch.cat((first, later), dim=2).clamp(-1, 1)


def to_blocks(
    clips: Float[Tensor, "b 3 t h w"], compression: Compression
) -> tuple[Float[Tensor, "b 1 lh lw p"], Float[Tensor, "b k lh lw q"]]:
    """The blocks that one latent position stands for: of the first frame, and of every later group of frames."""
    time, space = compression.time, compression.space
    first = rearrange(clips[:, :, :1], "b c t (h y) (w x) -> b t h w (c y x)", y=space, x=space)
    later = rearrange(clips[:, :, 1:], "b c (t s) (h y) (w x) -> b t h w (c s y x)", s=time, y=space, x=space)
    return first, later
