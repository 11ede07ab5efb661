"""Small transformers with every parameter random: an untouched start hides half of the mistakes."""

from typing import Any

import torch
from torch import nn

from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip

SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 12,
    "ffn_dim": 40,
    "num_layers": 2,
}
SHAPES = [(3, 4, 6), (1, 8, 4), (2, 6, 6), (3, 4, 6)]


def randomise(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def tiny_dit(**changes: Any) -> DiT:
    dit = DiT(DiTConfig(**(SIZES | changes)))
    randomise(dit)
    return dit


def gentle_dit() -> DiT:
    """One whose answers change little from one noise level to the next."""
    torch.manual_seed(0)
    model = DiT(DiTConfig(**(SIZES | {"attention_head_dim": 16, "ffn_dim": 48, "num_layers": 3}))).requires_grad_(False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny_clips(channels: int = 4, image: tuple[int, int] | None = None) -> list[Clip]:
    """Clips of mixed shapes and text lengths: one noise level each, then levels that differ by token."""
    generator = torch.Generator().manual_seed(1)
    clips = []
    for index, (frames, height, width) in enumerate(SHAPES):
        sigma: float | torch.Tensor = (0.9, 0.2, 1.0, 0.5)[index]
        if index % 2:
            levels = torch.rand(frames, generator=generator)
            levels[0] = 0.0
            sigma = levels.repeat_interleave(height // 2 * width // 2)
        clips.append(
            Clip(
                torch.randn(channels, frames, height, width, generator=generator),
                sigma,
                torch.randn((5, 1, 9, 3)[index], 12, generator=generator),
                None if image is None else torch.randn(*image, generator=generator),
            )
        )
    return clips


def relative_error(ours: torch.Tensor, wanted: torch.Tensor) -> float:
    ours, wanted = ours.detach().double(), wanted.detach().double()
    return float((ours - wanted).norm() / wanted.norm())
