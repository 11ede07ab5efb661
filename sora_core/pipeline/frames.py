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


def fit_image(image: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "H W 3"]:
    """The picture scaled until it covers ``height x width``, then cut around its middle: never stretched."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape) < 1:
        raise InputError(f"an image of shape {image.shape}: give height x width x 3")
    if image.shape[:2] == (height, width):
        return np.asarray(image)
    scale = max(height / image.shape[0], width / image.shape[1])
    size = (max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale)))
    scaled = F.interpolate(to_video(image[None]).transpose(0, 1), size, mode="bicubic", antialias=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    fitted: np.ndarray = to_frames(scaled.transpose(0, 1)[:, :, top : top + height, left : left + width])[0]
    return fitted
