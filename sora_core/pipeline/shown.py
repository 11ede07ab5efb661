"""What Wan 2.1's image-to-video models see beside the noise: frames of every clip, as channels and as image tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sora_core.edits import Canvas
from sora_core.errors import InputError
from sora_core.pipeline.frames import to_video
from sora_core.shapes import Compression
from sora_core.vision import ImageEncoder

_WHERE = {0: "first", -1: "last"}


@dataclass(frozen=True, slots=True)
class Shown:
    """The frames, by index, that every clip of a model begins with.

    They lie beside the latents as further channels: a mask with a channel for each pixel frame of a latent one, and the
    latents of a video that is grey elsewhere. The clip itself is all noise: none of it is given.
    """

    places: tuple[int, ...]
    encoder: ImageEncoder

    def check(self, canvas: Canvas | None) -> Canvas:
        """The canvas, on which these frames are; InputError when they aren't."""
        if canvas is None or not all(bool(canvas.kept[place].all()) for place in self.places):
            frames = " and the ".join(_WHERE[place] for place in self.places)
            raise InputError(f"this model makes no video from words alone: give the {frames} frame")
        return canvas

    def tokens(self, canvas: Canvas) -> Float[Tensor, "k e"]:
        """Of all these frames, one after another."""
        return self.encoder.encode([canvas.frames[place] for place in self.places])

    def channels(
        self,
        canvas: Canvas,
        compression: Compression,
        encode: Callable[[Float[Tensor, "3 f i j"]], Float[Tensor, "c t h w"]],
    ) -> Float[Tensor, "m t h w"]:
        """The mask, then the latents."""
        known = np.zeros(canvas.shape.frames, bool)
        known[list(self.places)] = True
        frames = torch.from_numpy(known)
        latent = encode(to_video(canvas.frames) * frames[:, None, None])
        # The first latent holds a single frame, which counts for all of a later one's.
        by_latent = torch.cat([frames[:1].expand(compression.time), frames[1:]])
        mask = rearrange(by_latent, "(t time) -> time t 1 1", time=compression.time)
        return torch.cat([mask.to(latent).expand(-1, *latent.shape[1:]), latent])
