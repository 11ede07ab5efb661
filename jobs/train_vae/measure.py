"""How good an autoencoder is on clips that it never saw, beside the linear codec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jobs.train_vae import crops
from jobs.train_vae.config import TrainVaeConfig
from jobs.train_vae.footage import Frames
from sora_core.vae.causal import decode_unclamped, encode_moments
from sora_core.vae.metrics import psnr, ssim
from sora_core.vae.pca import PcaCodec
from sora_core.vae.perceptual import PerceptualDistance

Codec = Callable[[Float[Tensor, "b 3 t h w"]], Float[Tensor, "b 3 t h w"]]

_PCA_CLIPS = 300
_CLIPS_OF_A_FILE = 2
_WORLD_CLIPS = 12
_WORLD_SEED = 10**6  # far from the seeds that training draws
_LOOKED_AT_EVERY = 4  # frames, by the learned distances, which cost the most


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over frames and clips. PSNR and SSIM: more is better. The learned distances: less.

    AlexNet's is what training minimises a part of, VGG's is never seen in training; None where it was not measured.
    """

    psnr_db: float
    first_frame_psnr_db: float
    ssim: float
    st_lpips_alex: float
    st_lpips_vgg: float | None

    def __str__(self) -> str:
        return (
            f"{self.psnr_db:.2f} dB (first frame {self.first_frame_psnr_db:.2f}), SSIM {self.ssim:.3f}, "
            f"ST-LPIPS {self.st_lpips_alex:.3f}"
        )


def held_out_clips(held_out: Mapping[str, list[Frames]], config: TrainVaeConfig) -> Float[Tensor, "b 3 t h w"]:
    """The middle squares of runs spread over every held-out file."""
    clips = []
    for runs in held_out.values():
        long_enough = [run for run in runs if len(run) >= config.measured_frames]
        spread = np.linspace(0, len(long_enough) - 1, min(_CLIPS_OF_A_FILE, len(long_enough))).astype(int)
        clips += [crops.middle(long_enough[i][: config.measured_frames], config.measured_side) for i in spread]
    return crops.to_pixels(clips)


def world_clips(config: TrainVaeConfig) -> Float[Tensor, "b 3 t h w"]:
    """Clips of the controlled world at the size of training."""
    seeds = range(_WORLD_SEED, _WORLD_SEED + _WORLD_CLIPS)
    return crops.to_pixels([crops.world_clip(seed, config.measured_frames, config.side) for seed in seeds])


def fit_pca(runs: Mapping[str, list[Frames]], config: TrainVaeConfig) -> PcaCodec:
    """The linear codec of as many numbers, fitted to crops of the training files."""
    rng = np.random.default_rng(config.seed)
    clips = crops.batch(runs, rng, _PCA_CLIPS, config.phases[0].frames, config.side, world_share=0.0)
    return PcaCodec.fit(clips, config.layout.z_dim)


def through(vae: Any) -> Codec:
    """Encode to the posterior mean and decode, clamped as a viewer sees it."""

    @torch.no_grad()
    def codec(clips: Tensor) -> Tensor:
        return torch.cat([decode_unclamped(vae, encode_moments(vae, clip)[0]).clamp(-1, 1) for clip in clips.split(1)])

    return codec


@torch.no_grad()
def quality(
    clips: Float[Tensor, "b 3 t h w"], codec: Codec, alex: PerceptualDistance, vgg: PerceptualDistance | None = None
) -> Quality:
    """Of a codec on clips in [-1, 1]."""
    restored = codec(clips)
    signal = psnr(clips, restored)
    return Quality(
        psnr_db=signal.mean().item(),
        first_frame_psnr_db=signal[:, 0].mean().item(),
        ssim=ssim(clips, restored).mean().item(),
        st_lpips_alex=_distance(clips, restored, alex),
        st_lpips_vgg=None if vgg is None else _distance(clips, restored, vgg),
    )


def _distance(clips: Tensor, restored: Tensor, perceptual: PerceptualDistance) -> float:
    a, b = (value[:, :, ::_LOOKED_AT_EVERY].transpose(1, 2).flatten(0, 1) for value in (clips, restored))
    return torch.cat([perceptual(x, y) for x, y in zip(a.split(16), b.split(16), strict=True)]).mean().item()
