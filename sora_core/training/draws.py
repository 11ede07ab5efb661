"""Everything random about a step, as a function of the seed, the step and a clip's slot in it.

Nothing is drawn from a global generator, so a resumed run, or one on other workers, draws the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sora_core.shapes import LatentShape, Patch
from sora_core.training import masks

_STREAM = 0x5017A
"""Keeps the draws of a step apart from the orders of an epoch, which share the seed."""


@dataclass(frozen=True, slots=True)
class DrawRules:
    """How often a caption is dropped, and latents are given: ``given`` is a share of the clips by kind of mask."""

    seed: int
    caption_dropout: float
    given: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides about one clip in one step. ``u`` in (0, 1) becomes the noise level."""

    u: float
    drop_caption: bool
    mask_kind: str
    mask_seed: int
    noise_seed: int
    posterior_seed: int

    def mask(self, latent: LatentShape, patch: Patch) -> masks.Mask:
        """The latents that are given."""
        return masks.draw_mask(self.mask_kind, latent, patch, np.random.default_rng(self.mask_seed))


def draw_step(rules: DrawRules, step: int, num_clips: int) -> list[Draw]:
    """The draws of all clips of a step, by slot. Their ``u`` are stratified: one in each of ``num_clips`` parts."""
    rng = np.random.default_rng((_STREAM, rules.seed, step))
    u = (rng.permutation(num_clips) + rng.uniform(size=num_clips)) / num_clips
    dropped = rng.uniform(size=num_clips) < rules.caption_dropout
    kinds = list(rules.given)
    shares = [rules.given[kind] for kind in kinds]
    chosen = rng.choice(len(kinds) + 1, size=num_clips, p=[*shares, max(0.0, 1.0 - sum(shares))])
    seeds = rng.integers(2**62, size=(num_clips, 3))
    return [
        Draw(
            u=float(np.clip(u[slot], 1e-6, 1 - 1e-6)),
            drop_caption=bool(dropped[slot]),
            mask_kind=[*kinds, "nothing"][chosen[slot]],
            mask_seed=int(seeds[slot, 0]),
            noise_seed=int(seeds[slot, 1]),
            posterior_seed=int(seeds[slot, 2]),
        )
        for slot in range(num_clips)
    ]
