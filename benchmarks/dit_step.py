"""One step of the packed transformer beside diffusers' module with the same weights, in one run.

``python -m benchmarks.dit_step`` prints milliseconds, ratios and the share of this machine's measured matrix peak: for
clips of one shape (the peer runs them as a batch) and for a mix of shapes (the peer runs them one at a time, and
padded in buckets, as it must to batch them at all). Then what rounding the weights costs and gains.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.precision import REDUCED, autocast, dtype_of, fast_dtype

WAN = {
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 384,
    "ffn_dim": 1536,
    "num_layers": 2,
}
TEXT_LEN = 512
ONE_SHAPE = [(4, 16, 16)] * 4
# Log-normal like footage: many images and short clips, few long ones, sides of several aspects.
MIX = [
    (1, 16, 16), (1, 24, 12), (1, 12, 20), (1, 16, 24), (2, 16, 16), (2, 12, 24), (3, 16, 16), (3, 20, 12),
    (5, 16, 16), (5, 12, 24), (9, 16, 16),
]  # fmt: skip
BUCKETS = 4


def make_clips(shapes: Sequence[tuple[int, int, int]]) -> list[Clip]:
    generator = torch.Generator().manual_seed(1)
    return [
        Clip(
            torch.randn(WAN["in_channels"], *shape, generator=generator),
            0.1 + 0.8 * index / len(shapes),
            torch.randn(12 + index, WAN["text_dim"], generator=generator),
        )
        for index, shape in enumerate(shapes)
    ]


def make_models() -> tuple[DiT, WanTransformer3DModel]:
    """Ours and the peer's with the same random weights."""
    torch.manual_seed(0)
    peer = WanTransformer3DModel(**WAN)
    for block in peer.blocks:
        torch.nn.init.normal_(block.scale_shift_table)  # open gates, or rounding a block's weights would hardly show
    ours = DiT(DiTConfig(**WAN, text_padding_len=TEXT_LEN))
    ours.load_state_dict(peer.state_dict())
    return ours, peer


def peer_batch(clips: Sequence[Clip]) -> tuple[Tensor, Tensor, Tensor]:
    """Latents padded to the largest of the batch, timesteps, and text filled with zeros."""
    sides = [max(clip.latent.shape[axis] for clip in clips) for axis in (1, 2, 3)]
    latents = torch.zeros(len(clips), WAN["in_channels"], *sides)
    text = torch.zeros(len(clips), TEXT_LEN, WAN["text_dim"])
    for index, clip in enumerate(clips):
        _, t, h, w = clip.latent.shape
        latents[index, :, :t, :h, :w] = clip.latent
        text[index, : len(clip.text)] = clip.text
    return latents, torch.tensor([1000 * float(clip.sigma) for clip in clips]), text


def buckets(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips of like size together, as many in each."""
    ordered = sorted(clips, key=lambda clip: clip.latent[0].numel())
    size = -(-len(ordered) // BUCKETS)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def run_ours(dit: DiT, clips: Sequence[Clip]) -> Tensor:
    return dit(pack(clips)).float().square().mean()


def run_peer(peer: WanTransformer3DModel, batches: Sequence[Sequence[Clip]]) -> Tensor:
    outputs = [peer(*peer_batch(batch), return_dict=False)[0].float().square().mean() for batch in batches]
    return torch.stack(outputs).mean()


def milliseconds(work: Callable[[], Tensor], model: torch.nn.Module, train: bool, repeats: int) -> float:
    """Median CPU time of this process, so that other programs don't count; a training step is forward and backward."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        with torch.set_grad_enabled(train):
            value = work()
            if train:
                value.backward()
        times.append(time.process_time() - start)
        model.zero_grad(set_to_none=True)
    return 1000 * statistics.median(times[1:])


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def matrix_peak(dtype: torch.dtype, size: int = 1024) -> float:
    """Operations a second of a large product, the best of several."""
    a = torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(8):
        start = time.process_time()
        a @ a
        best = min(best, time.process_time() - start)
    return 2 * size**3 / best


def compare(ours: DiT, peer: WanTransformer3DModel, repeats: int) -> None:
    print(f"{'case':28} {'dtype':9} {'phase':8} {'ours ms':>8} {'peer ms':>8} {'ratio':>6} {'of peak':>8}")
    one, mix = make_clips(ONE_SHAPE), make_clips(MIX)
    cases: list[tuple[str, list[Clip], list[list[Clip]]]] = [
        ("one shape, peer batched", one, [one]),
        ("mix, peer one at a time", mix, [[clip] for clip in mix]),
        (f"mix, peer padded, {BUCKETS} buckets", mix, buckets(mix)),
    ]
    for dtype in dict.fromkeys((torch.float32, fast_dtype("cpu"))):
        peak = matrix_peak(dtype)
        with autocast("cpu", dtype):
            for name, clips, batches in cases:
                lengths = [clip.latent[0].numel() // 4 for clip in clips]
                work = flops(ours.config, lengths, [len(clip.text) for clip in clips])
                for train in (False, True):
                    mine = milliseconds(lambda c=clips: run_ours(ours, c), ours, train, repeats)
                    theirs = milliseconds(lambda b=batches: run_peer(peer, b), peer, train, repeats)
                    share = work * (3 if train else 1) / (mine / 1000) / peak
                    print(
                        f"{name:28} {name_of(dtype):9} {'train' if train else 'forward':8} "
                        f"{mine:8.0f} {theirs:8.0f} {theirs / mine:5.2f}x {share:8.0%}"
                    )


@torch.no_grad()
def check_equal(ours: DiT, peer: WanTransformer3DModel) -> float:
    """Largest relative difference of a clip between our pack and the peer alone."""
    clips = make_clips(MIX)
    packed = pack(clips)
    errors = []
    for clip, velocity in zip(clips, unpack(packed, ours(packed)), strict=True):
        wanted = peer(*peer_batch([clip]), return_dict=False)[0][0]
        errors.append(((velocity - wanted).norm() / wanted.norm()).item())
    return max(errors)


@torch.no_grad()
def compare_weights(repeats: int) -> None:
    """What rounded weights cost in error and gain in time, forward of the mix."""
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
    except ImportError:
        print("\nint8 weights: left out; pip install torchao")
        return
    low = dtype_of(REDUCED)
    packed, (exact, _) = pack(make_clips(MIX)), make_models()
    wanted = exact(packed)
    base = milliseconds(lambda: exact(packed), exact, False, repeats)
    print(f"\n{'weights':34} {'ms':>6} {'faster':>7} {'error':>8}\n{'float32':34} {base:6.0f} {'1.00x':>7} {'0':>8}")
    rounded = {
        name_of(low): None,
        "int8 weights, torchao": Int8WeightOnlyConfig(),
        "int8 weights and inputs, torchao": Int8DynamicActivationInt8WeightConfig(),
    }
    for name, config in rounded.items():
        dit, _ = make_models()
        dit.to(low)
        if config is not None:
            quantize_(dit.blocks, config)
        given = packed.to("cpu", low)
        spent = milliseconds(lambda dit=dit, given=given: dit(given), dit, False, repeats)
        error = ((dit(given).float() - wanted).norm() / wanted.norm()).item()
        print(f"{name:34} {spent:6.0f} {base / spent:6.2f}x {error:8.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("all", "step", "weights"), default="all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Mismatch dtype")  # the peer's norms under autocast
    if arguments.part != "weights":
        compare_steps(arguments.repeats)
    if arguments.part != "step":
        compare_weights(arguments.repeats)


def compare_steps(repeats: int) -> None:
    """Equality, then time, of the two models."""
    ours, peer = make_models()
    tokens = sum(t * h * w // 4 for t, h, w in MIX)
    print(f"{ours.num_params / 1e6:.1f} M parameters, one thread, CPU time, torch {torch.__version__}")
    print(f"mix: {len(MIX)} clips, {tokens} tokens; largest difference from the peer: {check_equal(ours, peer):.1e}")
    compare(ours, peer, repeats)


if __name__ == "__main__":
    main()
