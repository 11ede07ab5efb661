"""How close a reconstruction is: PSNR and SSIM. The learned distance is in `perceptual`."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def psnr(a: Float[Tensor, "b 3 t h w"], b: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t"]:
    """Peak signal to noise ratio in dB of every frame; pixels in [-1, 1]."""
    mse = (a.double() - b.double()).square().mean((1, 3, 4)).clamp(min=1e-10)
    return (10 * torch.log10(4 / mse)).float()


def ssim(a: Float[Tensor, "b 3 t h w"], b: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t"]:
    """Structural similarity of every frame (Wang et al. 2004: 11 pixel Gaussian window, mean over colours)."""
    frames = a.shape[2]
    x, y = (rearrange(v, "b c t h w -> (b t) c h w") for v in (a, b))
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    cov = _blur(x * y) - mean_x * mean_y
    c1, c2 = (2 * _K1) ** 2, (2 * _K2) ** 2
    score = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return score.mean((1, 2, 3)).reshape(-1, frames)


def _blur(x: Tensor) -> Tensor:
    position = torch.arange(_WINDOW, dtype=x.dtype, device=x.device) - _WINDOW // 2
    kernel = torch.exp(-position.square() / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, _WINDOW)
    x = F.conv2d(x, kernel, groups=x.shape[1])
    blurred: Tensor = F.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])
    return blurred
