"""A U-Net denoiser beside the transformer: diffusers' own 3-D U-Net behind the same call."""

import torch
from diffusers import UNet3DConditionModel
from einops import reduce
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scaling.clips import ClipSet
from sora_core.dit.config import DiTConfig
from sora_core.dit.packing import Clip, Pack, pack, patchify, unpack
from sora_core.shapes import Patch

_TEXT_TOKENS = 12
"""Texts are filled with zeros to this length, as latent diffusion does; the longest caption has 10."""


class UNetDenoiser(nn.Module):
    """Maps a pack to velocities, clips of one shape as a batch.

    Convolutions in space and in time, attention in time, cross-attention to the text at every level; the pooled text
    joins the time embedding, as in the transformer.
    """

    def __init__(self, config: DiTConfig, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.net = UNet3DConditionModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            down_block_types=("CrossAttnDownBlock3D",) * len(widths),
            up_block_types=("CrossAttnUpBlock3D",) * len(widths),
            block_out_channels=widths,
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=config.text_dim,
            attention_head_dim=4,
            time_cond_proj_dim=config.text_dim,
        )
        nn.init.zeros_(self.net.conv_out.weight)
        nn.init.zeros_(self.net.conv_out.bias)

    def forward(self, pack: Pack) -> Tensor:
        """Velocities ``(l, p)``."""
        latents, texts = unpack(pack, pack.tokens), pack.text_segments.split(pack.text)
        answers: list[Tensor] = [torch.empty(0)] * len(latents)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, latent in enumerate(latents):
            by_shape.setdefault(tuple(latent.shape), []).append(number)
        for alike in by_shape.values():
            padded = pack.text.new_zeros(len(alike), _TEXT_TOKENS, pack.text.shape[1])
            for row, number in enumerate(alike):
                padded[row, : len(texts[number])] = texts[number]
            pooled = torch.stack([reduce(texts[number], "m d -> d", "mean") for number in alike])
            batch = torch.stack([latents[number] for number in alike])
            out = self.net(batch, 1000 * pack.levels[alike], padded, timestep_cond=pooled, return_dict=False)[0]
            for number, velocity in zip(alike, out, strict=True):
                answers[number] = patchify(velocity.float(), pack.patch)
        return torch.cat(answers)

    @torch.no_grad()
    def flops_per_token(self, clips: ClipSet) -> float:
        """Operations of a forward for each token that the transformer would see, counted as they run, over 64 clips."""
        patch = Patch()
        some = [
            Clip(example.latent_mean.float(), 0.5, example.text.float())
            for example in clips.train[:: max(1, len(clips.train) // 64)]
        ]
        with FlopCounterMode(display=False) as counter:
            packed = pack(some, patch)
            self(packed)
        return counter.get_total_flops() / len(packed.tokens)
