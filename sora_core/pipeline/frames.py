"""Pictures between files and the autoencoder: uint8 frames and float video."""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from sora_core.errors import InputError


def to_video(frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "3 t h w"]:
    """Values in [-1, 1], channels first."""
    video: Tensor = rearrange(torch.from_numpy(np.array(frames, order="C")), "t h w c -> c t h w")
    return video.float() / 127.5 - 1


def to_frames(video: Float[Tensor, "3 t h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames of a video in [-1, 1]; what lies outside is clipped."""
    values = ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    frames: np.ndarray = rearrange(values.cpu().numpy(), "c t h w -> t h w c")
    return np.ascontiguousarray(frames)


def fit_frames(frames: UInt8[np.ndarray, "t h w 3"], height: int, width: int) -> UInt8[np.ndarray, "t H W 3"]:
    """Pictures scaled until they cover ``height x width``, then cut around their middle: never stretched."""
    if frames.ndim != 4 or frames.shape[3] != 3 or min(frames.shape) < 1:
        raise InputError(f"an image of shape {frames.shape[1:]}: give height x width x 3")
    if frames.shape[1:3] == (height, width):
        return frames
    scale = max(height / frames.shape[1], width / frames.shape[2])
    size = (max(height, round(frames.shape[1] * scale)), max(width, round(frames.shape[2] * scale)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    fitted = []
    for frame in frames:  # one at a time: in float they take twelve times the memory
        scaled = F.interpolate(to_video(frame[None]).transpose(0, 1), size, mode="bicubic", antialias=True)
        fitted.append(to_frames(scaled.transpose(0, 1)[:, :, top : top + height, left : left + width]))
    return np.concatenate(fitted)
