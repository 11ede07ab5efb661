"""The transformer asked for the clean latent instead of the velocity (after Li & He 2025, "Back to basics")."""

from torch import Tensor

from sora_core.dit.model import DiT
from sora_core.dit.packing import Pack

_LEAST_SIGMA = 0.05  # below this level the division would blow errors up


class CleanDiT(DiT):
    """Its head answers the clean latent; the call still answers the velocity that leads from the noised one to it."""

    def _head(self, x: Tensor, embedded: Tensor, pack: Pack) -> Tensor:
        answer = super()._head(x, embedded, pack).float()
        return (pack.tokens.float() - answer) / pack.sigma.clamp(min=_LEAST_SIGMA)[:, None]
