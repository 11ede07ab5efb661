"""Which latents of a clip are given, and what it starts from: all that sampling knows of an edit.

Given latents have sigma 0, and sampling leaves them as they are.
"""

from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor

from sora_core.diffusion.flow import add_noise
from sora_core.errors import InputError
from sora_core.nn.transfer import upload
from sora_core.shapes import Patch


@dataclass(frozen=True, slots=True)
class Condition:
    """``given`` latents where ``mask`` is true, nothing where ``given`` is None; the rest starts from ``start``."""

    mask: Bool[Tensor, "t h w"]
    given: Float[Tensor, "c t2 h2 w2"] | None = None
    start: Float[Tensor, "c t3 h3 w3"] | None = None

    def __post_init__(self) -> None:
        if self.given is not None and self.given.shape[1:] != self.mask.shape:
            raise InputError(
                f"given latents of {tuple(self.given.shape[1:])} with a mask of {tuple(self.mask.shape)}: "
                f"they must have the same frames, height and width"
            )
        if self.start is not None and self.start.shape[1:] != self.mask.shape:
            raise InputError(f"a start of {tuple(self.start.shape[1:])} with a mask of {tuple(self.mask.shape)}")
        if self.given is None and bool(self.mask.any()):
            raise InputError("a mask of given latents without the latents: give both or neither")

    def apply(self, x: Float[Tensor, "c t h w"]) -> Float[Tensor, "c t h w"]:
        """``x`` with the given latents in their places, exactly."""
        if self.given is None:
            return x
        return torch.where(upload(self.mask, x.device), self.given.to(x), x)

    def begin(self, noise: Float[Tensor, "c t h w"], sigma: float) -> Float[Tensor, "c t h w"]:
        """The sample at the first noise level: noise, or the start noised so far (SDEdit, Meng et al. 2022)."""
        return self.apply(noise if self.start is None else add_noise(self.start.to(noise), noise, sigma))

    def tokens(self, patch: Patch) -> Bool[Tensor, " n"]:
        """Which tokens are given. InputError when a patch is given in part only."""
        pattern = "(t pt) (h ph) (w pw) -> (t h w)"
        sides = {"pt": patch.time, "ph": patch.height, "pw": patch.width}
        values = self.mask.float()
        every: Tensor = reduce(values, pattern, "min", **sides)
        some: Tensor = reduce(values, pattern, "max", **sides)
        if not torch.equal(every, some):
            raise InputError(f"a mask that gives parts of a {patch} patch: align it to whole patches")
        return every.bool()

    def sigma_tokens(self, sigma: float, patch: Patch) -> float | Float[Tensor, " n"]:
        """The noise level of each token: ``sigma``, and 0 where given; the number itself when nothing is given."""
        if self.given is None:
            return sigma
        return torch.where(self.tokens(patch), 0.0, sigma)


def none(frames: int, height: int, width: int) -> Condition:
    """Nothing given: text to video."""
    return Condition(torch.zeros(frames, height, width, dtype=torch.bool))
