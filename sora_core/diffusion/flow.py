"""Rectified flow: the path from data to noise, what the network learns on it, and where on it training looks.

``x_sigma = (1 - sigma) x + sigma noise``; the velocity is ``noise - x``; sigma 0 is data, 1 is noise.
(Liu et al. 2022; Lipman et al. 2022; Esser et al. 2024 for the law of times and its shift.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def noise(seed: int, shape: Sequence[int]) -> Float[Tensor, "..."]:
    """Standard normal values from a CPU generator: a seed means the same on every device and in every batch."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def add_noise(
    x: Float[Tensor, "..."], noise: Float[Tensor, "..."], sigma: float | Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """``(1 - sigma) x + sigma noise``; ``sigma`` is a number or broadcasts."""
    return (1 - sigma) * x + sigma * noise


def target(x: Float[Tensor, "..."], noise: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The velocity that the network learns: ``noise - x``."""
    return noise - x


def clip_losses(
    prediction: Float[Tensor, "l p"],
    target: Float[Tensor, "l p"],
    sigma: Float[Tensor, " l"],
    cu_seqlens: Int[Tensor, " n_plus_1"],
) -> Float[Tensor, " n"]:
    """Mean squared error of each clip over its tokens with sigma > 0; NaN for a clip that has none."""
    error = (prediction.float() - target.float()).square().mean(dim=1)
    free = (sigma > 0).to(error.dtype)
    lengths = cu_seqlens.diff().long()
    clip = torch.repeat_interleave(torch.arange(len(lengths), device=error.device), lengths, output_size=len(error))
    sums = torch.zeros(len(lengths), device=error.device).index_add(0, clip, error * free)
    counts = torch.zeros(len(lengths), device=error.device).index_add(0, clip, free)
    # The division is safe before the NaN is set, or the gradient of the other clips would be NaN too.
    return (sums / counts.clamp(min=1)).masked_fill(counts == 0, torch.nan)


def loss(
    prediction: Float[Tensor, "l p"],
    target: Float[Tensor, "l p"],
    sigma: Float[Tensor, " l"],
    cu_seqlens: Int[Tensor, " n_plus_1"],
) -> Float[Tensor, ""]:
    """Mean of `clip_losses`: a photograph weighs as much as a film; clips with nothing to learn don't count."""
    return clip_losses(prediction, target, sigma, cu_seqlens).nanmean()


@dataclass(frozen=True, slots=True)
class ShiftLaw:
    """How far times lean to noise: more tokens need more noise to hide the same picture.

    ``shift`` holds at ``tokens`` tokens and grows with the square root of their number, never under 1; with
    ``tokens`` None it is the same for every clip.
    """

    shift: float
    tokens: int | None = None

    def shift_for(self, num_tokens: int) -> float:
        """The shift of a clip."""
        if self.tokens is None:
            return self.shift
        return max(1.0, self.shift * math.sqrt(num_tokens / self.tokens))


# Wan 2.1 samples 480p clips of 81 frames (32,760 tokens) with shift 3 and 720p ones (75,600) with 5; the law gives 4.6.
DEFAULT_SHIFT = ShiftLaw(shift=3.0, tokens=32_760)


def shift_for(num_tokens: int, law: ShiftLaw = DEFAULT_SHIFT) -> float:
    """The timestep shift of a clip of ``num_tokens`` tokens."""
    return law.shift_for(num_tokens)


def shifted(sigma: Float[Tensor, "..."], shift: float | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """``s sigma / (1 + (s - 1) sigma)``: keeps 0 and 1, moves the middle to noise for s > 1."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sample_sigma(
    u: Float[Tensor, " n"],
    num_tokens: Int[Tensor, " n"] | Sequence[int],
    law: ShiftLaw = DEFAULT_SHIFT,
    spread: float = 1.0,
) -> Float[Tensor, " n"]:
    """Noise levels for training: logit-normal, then shifted by each clip's tokens.

    ``spread`` is the standard deviation of the logits: the more, the more often the ends are seen (1.7 is about
    uniform). ``u`` are uniform draws in (0, 1) - stratify them over a batch and the law keeps them so.
    """
    counts = num_tokens.tolist() if isinstance(num_tokens, Tensor) else num_tokens
    shifts = torch.tensor([law.shift_for(int(count)) for count in counts], dtype=u.dtype, device=u.device)
    return shifted((spread * torch.special.ndtri(u)).sigmoid(), shifts)
