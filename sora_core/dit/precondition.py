"""What a network need not learn: the best linear guess of the velocity, added to its answer.

A value of variance ``q``, noised to level ``s``, has the variance ``D = (1 - s)^2 q + s^2``, and of all linear
functions of it ``(s - (1 - s) q) / D`` times itself is nearest to the velocity; what that misses has the variance
``q / D``. The network sees ``x / sqrt(D)`` and answers what is missed in units of its deviation (Karras et al. 2022,
equation 7, for the path of `sora_core.diffusion.flow`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core.dit.packing import Pack
from sora_core.nn.transfer import upload


@dataclass(frozen=True, slots=True)
class Preconditioning:
    """The factors of every value of a pack's tokens."""

    tokens: Float[Tensor, "l p"]
    scale: Float[Tensor, "l p"]
    skip: Float[Tensor, "l p"]
    spread: Float[Tensor, "l p"]

    @classmethod
    def of(cls, pack: Pack, variance: Sequence[float]) -> "Preconditioning":
        """``variance`` is that of each channel of clean latents as the network sees them."""
        patch = pack.patch
        columns = torch.tensor(variance).repeat_interleave(patch.time * patch.height * patch.width)
        q = upload(columns, pack.levels.device)
        s = pack.levels.float()[:, None]
        total = (1 - s).square() * q + s.square()
        scale, skip, spread = (
            factor.index_select(0, pack.level)
            for factor in (total.rsqrt(), (s - (1 - s) * q) / total, (q / total).sqrt())
        )
        return cls(pack.tokens, scale, skip, spread)

    def inputs(self) -> Float[Tensor, "l p"]:
        """What the network sees, of unit variance."""
        return (self.tokens.float() * self.scale).to(self.tokens.dtype)

    def velocity(self, answer: Float[Tensor, "l p"]) -> Float[Tensor, "l p"]:
        """The velocity when the network answers so; the linear guess when it answers zero."""
        return torch.addcmul(self.tokens.float() * self.skip, answer.float(), self.spread)
