"""What is left beside the weights for people: the card, and reconstructions to look at."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from jobs.train_vae.config import TrainVaeConfig
from jobs.train_vae.measure import Quality

_CARD = """---
library_name: diffusers
---
# A small causal video autoencoder

`AutoencoderKLWan` of diffusers with {parameters:.2f} M parameters: 4x in time, 8x in space, {channels} channels.
The first frame alone is the first latent, and later frames never change earlier latents.
Stored as {dtype}, {megabytes:.1f} MB.

| clips that it never saw | codec | PSNR, dB | of the first frame | SSIM | ST-LPIPS, AlexNet | ST-LPIPS, VGG |
|---|---|---|---|---|---|---|
{table}

Measured on the stored, rounded weights: posterior mean, clamped pixels; footage at {measured}, the controlled world at
{world_measured}. Less ST-LPIPS is better; AlexNet's is a part of what training minimised, VGG's it never saw.
"PCA" is the linear codec of as many numbers: principal components of 8x8 blocks, with one basis for the first frame and
one for every later four, fitted to the training files.

Made by `python -m jobs.train_vae` with the config in `training.json`: {trunk_steps} steps of a linear trunk, then
{phases}.

**Trained on** {train}. The controlled world is in {world:.0%} of the clips.

**Held out, by file:** {held_out}.
"""


def card(
    config: TrainVaeConfig,
    table: Mapping[str, Mapping[str, Quality]],
    *,
    parameters: int,
    weights_bytes: int,
    dtype: str,
    train: Sequence[str],
    held_out: Sequence[str],
) -> str:
    """The README.md of trained weights; ``table`` is clips -> codec -> quality."""
    rows = [
        f"| {clips} | {codec} | {_row(quality)} |"
        for clips, codecs in table.items()
        for codec, quality in codecs.items()
    ]
    return _CARD.format(
        parameters=parameters / 1e6,
        channels=config.layout.z_dim,
        dtype=dtype,
        megabytes=weights_bytes / 1e6,
        table="\n".join(rows),
        measured=f"{config.measured_frames}x{config.measured_side}x{config.measured_side}",
        world_measured=f"{config.measured_frames}x{config.side}x{config.side}",
        phases=" and ".join(
            f"{phase.steps} steps of {phase.batch} clips of {phase.frames}x{config.side}x{config.side} pixels"
            for phase in config.phases
        ),
        trunk_steps=config.trunk_steps if config.warm_start else 0,
        train=", ".join(train),
        world=config.world_share,
        held_out=", ".join(held_out),
    )


def _row(quality: Quality) -> str:
    vgg = "not measured" if quality.st_lpips_vgg is None else f"{quality.st_lpips_vgg:.3f}"
    signal = f"{quality.psnr_db:.2f} | {quality.first_frame_psnr_db:.2f}"
    return f"{signal} | {quality.ssim:.3f} | {quality.st_lpips_alex:.3f} | {vgg}"


def picture(rows: Sequence[Float[Tensor, "b 3 t h w"]], columns: int = 8) -> bytes:
    """A PNG: for each of the rows (source, codec, codec ...) the first clips' first and last frames side by side."""
    pairs = [rearrange(row[: columns // 2, :, [0, -1]], "b c t h w -> h (b t w) c") for row in rows]
    pixels = ((torch.cat(pairs) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    done, png = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR))
    assert done
    return bytes(png.tobytes())
