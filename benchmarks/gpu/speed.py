"""How fast a device denoises and learns, beside what it multiplies at its best and beside diffusers' module."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.layouts import Layout, Shape, build, clips, far, peak, seconds, work_of
from benchmarks.gpu.stage import Stage
from sora_core import precision
from sora_core.dit.model import Context, DiT
from sora_core.dit.packing import Clip, Pack, pack, unpack

_CHECKPOINTED_LAYERS = 20
"""Of more layers neither model keeps what the backward needs, or they wouldn't fit."""


def _dtype(stage: Stage) -> torch.dtype:
    return precision.fast_dtype(stage.device) if stage.device.type == "cuda" else torch.float32


def _packed(asked: Sequence[Clip], device: torch.device, dtype: torch.dtype) -> Pack:
    return pack(asked).to(device, dtype)


def _stepper(dit: DiT, asked: Sequence[Clip], device: torch.device, dtype: torch.dtype) -> tuple[Pack, Context]:
    """What a sampler's step takes: texts are read once a request."""
    contexts = [dit.context(clip.text.to(device, dtype)) for clip in asked]
    bare = [Clip(clip.latent, clip.sigma, clip.text[:0]) for clip in asked]
    return _packed(bare, device, dtype), Context.join(contexts)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@torch.no_grad()
def denoise(stage: Stage) -> None:
    """One step of one long clip, by layout: seconds, and the part of the measured peak."""
    best = peak(stage.device, _dtype(stage))
    stage.note(f"peak {_name(_dtype(stage))}, TFLOP/s", best / 1e12)
    for layout in stage.scale.layouts:
        stage.check(layout.name, partial(_denoise, stage, layout, best))
        _free(stage)


def _denoise(stage: Stage, layout: Layout, best: float) -> None:
    dtype, shape = _dtype(stage), stage.scale.long
    dit = build(layout, stage.device, dtype)
    packed, context = _stepper(dit, clips(layout, [shape]), stage.device, dtype)
    spent = seconds(lambda: dit(packed, context), stage.device, stage.scale.repeats)
    stage.note(f"{layout.name}, {packed.num_tokens} tokens, ms", 1000 * spent)
    stage.note(f"{layout.name}, forward MFU", work_of(layout, [shape]) / spent / best)
    stage.check(f"{layout.name}, diffusers", lambda: _peer(stage, layout, dit, [shape], dtype, train=False))


def training(stage: Stage) -> None:
    """Forward and backward of one long clip, and of a mix of shapes packed beside padded, under autocast."""
    best = peak(stage.device, _dtype(stage))
    for layout in stage.scale.layouts:
        if layout.trained:
            stage.check(layout.name, partial(_train, stage, layout, best))
            _free(stage)
        else:
            stage.note(layout.name, "left out: its optimisers want several GPUs")


def _train(stage: Stage, layout: Layout, best: float) -> None:
    dtype, dit = _dtype(stage), build(layout, stage.device)
    dit.activation_checkpointing = layout.layers > _CHECKPOINTED_LAYERS
    mix = list(stage.scale.mix)
    for name, shapes in (("one clip", [stage.scale.long]), ("mix", mix)):
        packed = _packed(clips(layout, shapes), stage.device, torch.float32)
        spent = seconds(lambda packed=packed: _learn(dit, packed, dtype), stage.device, stage.scale.repeats)
        stage.note(f"{layout.name}, {name}, {packed.num_tokens} tokens, ms", 1000 * spent)
        stage.note(f"{layout.name}, {name}, training MFU", 3 * work_of(layout, shapes) / spent / best)
    stage.check(f"{layout.name}, diffusers", lambda: _peer(stage, layout, dit, mix, dtype, train=True))


def _learn(dit: DiT, packed: Pack, dtype: torch.dtype) -> None:
    dit.zero_grad(set_to_none=True)
    with precision.autocast(packed.tokens.device, dtype):
        loss = dit(packed).float().square().mean()
    loss.backward()


def _peer(
    stage: Stage, layout: Layout, dit: DiT, shapes: list[Shape], dtype: torch.dtype, *, train: bool
) -> dict[str, float]:
    """diffusers' module of the same weights: clips padded to the largest, as it must to batch them."""
    from diffusers import WanTransformer3DModel

    sizes = layout.config().to_dict()
    known = ("num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "text_dim", "ffn_dim",
             "num_layers")  # fmt: skip
    with torch.device("meta"):
        peer = WanTransformer3DModel(**{name: sizes[name] for name in known})
    own = next(dit.parameters()).dtype
    peer = peer.to(own)
    peer.load_state_dict(dit.state_dict(), assign=True)
    peer.rope = type(peer.rope)(layout.head_dim, (1, 2, 2), 1024).to(stage.device)  # its tables are no weights
    if train and layout.layers > _CHECKPOINTED_LAYERS:
        peer.enable_gradient_checkpointing()
    asked = clips(layout, shapes)
    sides = [max(shape[axis] for shape in shapes) for axis in range(3)]
    latents = torch.zeros(len(asked), layout.channels, *sides)
    text = torch.zeros(len(asked), 512, layout.text_dim)
    for index, clip in enumerate(asked):
        _, t, h, w = clip.latent.shape
        latents[index, :, :t, :h, :w] = clip.latent
        text[index, : len(clip.text)] = clip.text
    times = torch.tensor([1000 * float(clip.sigma) for clip in asked]).to(stage.device)
    latents, text = latents.to(stage.device, own), text.to(stage.device, own)

    def forward() -> Tensor:
        with precision.autocast(stage.device, dtype if train else torch.float32):
            return peer(latents, times, text, return_dict=False)[0]

    def step() -> None:
        peer.zero_grad(set_to_none=True)
        forward().float().square().mean().backward()

    mine = stage.scale.repeats
    packed = _packed(asked, stage.device, own)
    ours = seconds((lambda: _learn(dit, packed, dtype)) if train else (lambda: dit(packed)), stage.device, mine)
    theirs = seconds(step if train else forward, stage.device, mine)
    with torch.no_grad():
        wanted = forward()[-1]
        error = far(unpack(packed, dit(packed))[-1], wanted[:, : shapes[-1][0], : shapes[-1][1], : shapes[-1][2]])
    found = {"ours ms": 1000 * ours, "theirs ms": 1000 * theirs, "ratio": theirs / ours}
    return found | ({"difference": error} if len(shapes) == 1 else {})


@torch.no_grad()
def packing(stage: Stage) -> None:
    """A step of small requests in one pack, and one after another."""
    dtype, layout = _dtype(stage), stage.scale.layouts[0]
    dit = build(layout, stage.device, dtype)
    asked = clips(layout, stage.scale.small)
    together, context = _stepper(dit, asked, stage.device, dtype)
    alone = [_stepper(dit, [clip], stage.device, dtype) for clip in asked]
    packed = seconds(lambda: dit(together, context), stage.device, 2 * stage.scale.repeats)
    one_by_one = seconds(lambda: [dit(*one) for one in alone], stage.device, 2 * stage.scale.repeats)
    stage.note(f"{layout.name}, {len(asked)} requests of {together.num_tokens} tokens packed, ms", 1000 * packed)
    stage.note("one by one, ms", 1000 * one_by_one)
    stage.note("ratio", one_by_one / packed)


@torch.no_grad()
def launches(stage: Stage) -> None:
    """What a sampler's step launches: kernels on a GPU, operations on a CPU."""
    dtype, layout = _dtype(stage), stage.scale.layouts[0]
    dit = build(layout, stage.device, dtype)
    for name, shapes in (("one clip", stage.scale.small[:1]), ("a pack", stage.scale.small)):
        packed, context = _stepper(dit, clips(layout, shapes), stage.device, dtype)
        dit(packed, context)
        counted = _launched(stage.device, partial(dit, packed, context))
        stage.note(f"{layout.name}, {name}: launches", counted.total())
        stage.note(f"{layout.name}, {name}: a block", round(counted.total() / layout.layers, 1))
        stage.note(f"{layout.name}, {name}: most often", dict(counted.most_common(5)))


def _launched(device: torch.device, work: Callable[[], object]) -> Counter[str]:
    gpu = device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU] + ([torch.profiler.ProfilerActivity.CUDA] if gpu else [])
    with torch.profiler.profile(activities=kinds) as profile:
        work()
        if gpu:
            torch.cuda.synchronize(device)
    on_gpu = torch.autograd.DeviceType.CUDA
    kept = [event for event in profile.events() if (event.device_type == on_gpu if gpu else event.cpu_parent is None)]
    return Counter(event.name[:60] for event in kept)


@torch.no_grad()
def weights(stage: Stage) -> None:
    """A feed-forward's product in int8 and fp8 beside 16 bits: seconds, error, and the kernels that ran."""
    layout = stage.scale.layouts[-1]
    dim = layout.heads * layout.head_dim
    rows = 32_768 if stage.device.type == "cuda" else 64
    generator = torch.Generator().manual_seed(0)
    inner = -(-layout.ffn_dim // 16) * 16
    x = torch.randn(rows, dim, generator=generator).to(stage.device)
    w = (0.02 * torch.randn(inner, dim, generator=generator)).to(stage.device)
    wanted = x.double() @ w.double().t() if stage.device.type == "cpu" else x @ w.t()
    low = _dtype(stage)
    plain = seconds(lambda: F.linear(x.to(low), w.to(low)), stage.device, stage.scale.repeats)
    stage.note(f"{_name(low)}, ms", 1000 * plain)
    for name, product in (("int8", _int8), ("fp8", _fp8)):
        stage.check(name, lambda product=product: _rounded(stage, product, x, w, wanted, plain))


def _rounded(
    stage: Stage, product: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor, wanted: Tensor, plain: float
) -> dict[str, object]:
    spent = seconds(lambda: product(x, w), stage.device, stage.scale.repeats)
    ran = _launched(stage.device, lambda: product(x, w))
    return {
        "ms": 1000 * spent, "faster": plain / spent, "error": far(product(x, w), wanted),
        "kernels": ", ".join(name for name, _ in ran.most_common(4)),
    }  # fmt: skip


def _scaled(x: Tensor, most: float) -> tuple[Tensor, Tensor]:
    scale = x.abs().amax(dim=1, keepdim=True).float() / most
    return x / scale, scale


def _int8(x: Tensor, w: Tensor) -> Tensor:
    (a, of_a), (b, of_b) = _scaled(x, 127), _scaled(w, 127)
    product = torch._int_mm(a.round().to(torch.int8), b.round().to(torch.int8).t())
    return product.float() * of_a * of_b.t()


def _fp8(x: Tensor, w: Tensor) -> Tensor:
    kind = torch.float8_e4m3fn
    (a, of_a), (b, of_b) = _scaled(x, 448), _scaled(w, 448)
    low = precision.dtype_of(precision.REDUCED)
    return torch._scaled_mm(a.to(kind), b.to(kind).t(), of_a, of_b.t().contiguous(), out_dtype=low)


def _free(stage: Stage) -> None:
    if stage.device.type == "cuda":
        torch.cuda.empty_cache()
