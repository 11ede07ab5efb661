"""What is measured, and with what clock: layouts of models, clips of them, a device's time."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """A transformer of Wan's kind by its sizes; ``trained`` where one GPU holds its optimisers too."""

    name: str
    heads: int
    head_dim: int
    ffn_dim: int
    layers: int
    channels: int = 16
    text_dim: int = 4096
    trained: bool = True

    def config(self, padding: int | None = 512) -> DiTConfig:
        return DiTConfig(
            num_attention_heads=self.heads, attention_head_dim=self.head_dim, in_channels=self.channels,
            out_channels=self.channels, text_dim=self.text_dim, ffn_dim=self.ffn_dim, num_layers=self.layers,
            text_padding_len=padding,
        )  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How large everything is: what a GPU is asked, or what a CPU does in seconds."""

    layouts: tuple[Layout, ...]
    long: Shape
    mix: tuple[Shape, ...]
    small: tuple[Shape, ...]
    repeats: int


WHOLE = Scale(
    layouts=(
        Layout("0.3B", 8, 128, 4096, 18),
        Layout("1.3B", 12, 128, 8960, 30),
        Layout("5B", 24, 128, 14336, 30, channels=48, trained=False),
    ),
    long=(21, 60, 104),  # 81 frames of 480p: 32,760 tokens
    mix=((1, 60, 104), (1, 64, 64), (3, 48, 80), (5, 60, 104), (9, 32, 56), (13, 60, 104), (21, 40, 64)),
    small=((1, 32, 32), (5, 20, 32), (5, 32, 20), (3, 32, 32)),
    repeats=5,
)
TINY = Scale(
    layouts=(Layout("tiny", 2, 24, 96, 2, channels=4, text_dim=12),),
    long=(3, 8, 12),
    mix=((1, 8, 12), (1, 8, 8), (3, 8, 8), (5, 4, 6)),
    small=((1, 4, 4), (2, 4, 6), (2, 6, 4), (1, 6, 6)),
    repeats=2,
)


def clips(layout: Layout, shapes: Sequence[Shape]) -> list[Clip]:
    """Noise of these latent shapes at levels spread over the path, with texts of a sentence's length."""
    generator = torch.Generator().manual_seed(1)
    return [
        Clip(
            torch.randn(layout.channels, *shape, generator=generator),
            0.1 + 0.8 * index / len(shapes),
            torch.randn(24 + index, layout.text_dim, generator=generator),
        )
        for index, shape in enumerate(shapes)
    ]


def build(layout: Layout, device: torch.device, dtype: torch.dtype = torch.float32, **kinds: int | None) -> DiT:
    """A model of random weights, drawn where it will lie; gates are open, or half of it would be the identity."""
    with torch.device("meta"):
        dit = DiT(layout.config(**kinds))
    dit = dit.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in dit.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, 0.02, generator=generator)
    return dit


def work_of(layout: Layout, shapes: Sequence[Shape]) -> float:
    """Operations of one forward of these clips."""
    lengths = [t * h * w // 4 for t, h, w in shapes]
    return flops(layout.config(), lengths, [24 + index for index in range(len(shapes))])


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of one call, after one that doesn't count: of the device, or the CPU time of this process."""
    if device.type != "cuda":
        times = []
        for _ in range(repeats + 1):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return statistics.median(times[1:])
    work()
    pairs = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize(device)
    return statistics.median(begin.elapsed_time(end) for begin, end in pairs) / 1000


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of large square matrices, measured now."""
    side = 8192 if device.type == "cuda" else 512
    left = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / seconds(lambda: left @ left, device, 10)


def far(ours: Tensor, wanted: Tensor) -> float:
    """Relative difference in the root mean square."""
    ours, wanted = ours.detach().double().cpu(), wanted.detach().double().cpu()
    return float((ours - wanted).norm() / wanted.norm())
