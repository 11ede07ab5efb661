"""Each path of a device once, its numbers beside the CPU's: the tests marked ``gpu``, and the first of the benchmark.

A check is a function of a device that returns what it found; it raises AssertionError where that is wrong.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.layouts import TINY, build, clips, far
from sora_core import precision
from sora_core.diffusion import flow
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.given import GivenStates
from sora_core.dit.model import Context, DiT
from sora_core.dit.packing import pack
from sora_core.nn.attention import Segments, attention
from sora_core.nn.transfer import upload
from sora_core.training.draws import DrawRules, draw_step
from sora_core.training.optim import OptimRules, orthogonalize
from sora_core.training.plan import Plan, PlannedStep, PlanRules
from sora_core.training.step import Example, Objective
from sora_core.training.trainer import Slots, Trainer
from sora_core.vae.whitening import Whitening

CPU = torch.device("cpu")
EXACT, ROUNDED = 1e-4, 4e-2
"""Greatest relative differences of float32, whose products a GPU may add up in another order, and of 16 bits."""

Found = dict[str, Any]


@contextmanager
def _no_waits() -> Any:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def no_waits(device: torch.device) -> AbstractContextManager[None]:
    """The host may not wait for the device inside; elsewhere than on a GPU torch can't tell."""
    return _no_waits() if device.type == "cuda" else nullcontext()


def _close(ours: Tensor, wanted: Tensor, bound: float) -> float:
    error = far(ours, wanted)
    assert error < bound, f"{error:.2e} from the CPU's, {bound:.0e} is the most"
    return error


def _dtypes(device: torch.device) -> dict[torch.dtype, float]:
    return {precision.fast_dtype(device): ROUNDED} | {torch.float32: EXACT}


@torch.no_grad()
def attention_kernels(device: torch.device) -> Found:
    """Variable-length attention, with and without a bias, of heads of 64 and 128."""
    found = {}
    lengths, keys = (5, 130, 64, 1), (7, 20, 3, 30)
    for dtype, bound in _dtypes(device).items():
        for width in (64, 128):
            generator = torch.Generator().manual_seed(width)
            q = torch.randn(sum(lengths), 2, width, generator=generator)
            k, v = (torch.randn(sum(keys), 2, width, generator=generator) for _ in range(2))
            bias = torch.randn(sum(keys), generator=generator)
            for name, added in (("plain", None), ("bias", bias)):
                wanted = attention(q, k, v, Segments.of(lengths), Segments.of(keys), added)
                there = [upload(x, device).to(dtype) for x in (q, k, v)]
                more = None if added is None else upload(added, device)
                ours = attention(*there, Segments.of(lengths, device), Segments.of(keys, device), more)
                found[f"{name} {width} {dtype}"] = _close(ours, wanted, bound)
    return found


@torch.no_grad()
def forward(device: torch.device) -> Found:
    """A mixed pack through the transformer; given tokens recalled; no wait in either."""
    layout, found = TINY.layouts[0], {}
    exact = build(layout, CPU)
    asked = clips(layout, TINY.mix)
    sigma = torch.full((TINY.mix[2][0] * TINY.mix[2][1] * TINY.mix[2][2] // 4,), 0.5)
    sigma[:16] = 0
    asked[2] = replace(asked[2], sigma=sigma)
    wanted = exact(pack(asked))
    for dtype, bound in _dtypes(device).items():
        dit = DiT(layout.config()).to(device, dtype)
        dit.load_state_dict(exact.state_dict())
        there = [replace(clip, latent=upload(clip.latent, device), text=upload(clip.text, device)) for clip in asked]
        contexts = [dit.context(clip.text.to(dtype)) for clip in there]
        states = [GivenStates(2) for _ in there]
        with no_waits(device):
            bare = [replace(clip, text=clip.text[:0]) for clip in there]
            packed = pack(bare).to(device, dtype)
            whole = dit(packed, Context.join(contexts), None, states)
            recalled = dit(packed, Context.join(contexts), None, states)
        found[str(dtype)] = _close(whole, wanted, bound)
        free = packed.sigma > 0
        found[f"{dtype} recalled"] = _close(recalled[free], wanted[free.cpu()], bound)
    return found


RULES = DrawRules(seed=5, caption_dropout=0.2, given={"first_frame": 0.3, "outside_a_box": 0.2})
SHAPES = ((4, 1, 4, 4), (4, 2, 4, 4), (4, 3, 4, 6))


def examples() -> list[Example]:
    """A dozen small clips of noise."""
    made = []
    for number in range(12):
        generator = torch.Generator().manual_seed(number)
        shape = SHAPES[number % 3]
        mean, text = torch.randn(shape, generator=generator), torch.randn(3, 8, generator=generator)
        made.append(Example(f"clip-{number}", mean.half(), torch.full(shape, 0.1).half(), text.half()))
    return made


def small_trainer(device: torch.device, dtype: torch.dtype = torch.float32) -> Trainer:
    """A trainer of a small model with all that a real one has: Muon, pooled text, statistics of later frames."""
    torch.manual_seed(0)
    config = DiTConfig(
        num_attention_heads=2, attention_head_dim=24, in_channels=4, out_channels=4, text_dim=8, ffn_dim=24,
        num_layers=2, pooled_text=True, data_variance=(1.0, 0.5, 1.5, 1.0),
    )  # fmt: skip
    whitening = Whitening((0.1, 0.0, -0.1, 0.2), (1.0, 2.0, 0.5, 1.5), (0.0,) * 4, (1.0,) * 4)
    return Trainer(
        DiT(config), Objective(config.patch, whitening, ShiftLaw(3.0), torch.zeros(2, 8)),
        OptimRules(3e-3, 0.02, (0.9, 0.95), 0.01, 0, 1.0),
        num_steps=50, ema_decay=0.9, precision=dtype, device=device,
    )  # fmt: skip


def steps_of(count: int, held: list[Example]) -> list[tuple[PlannedStep, list[Slots]]]:
    """The first steps of a plan over these clips, and their packs."""
    lengths = np.array([clip.latent_mean[0].numel() // 4 for clip in held])
    planned = [step for step, _ in zip(Plan(lengths, PlanRules(0, 48, 2, 72.0)).steps(), range(count), strict=False)]
    return [(step, slots(step, held)) for step in planned]


def slots(planned: PlannedStep, held: list[Example]) -> list[Slots]:
    """The packs of a step."""
    return [
        list(enumerate((held[number] for number in numbers), start=first))
        for numbers, first in zip(planned.packs, planned.first_slots, strict=True)
    ]


def training(device: torch.device) -> Found:
    """Steps with Muon, AdamW and the average beside the CPU's; the host waits for none of them."""
    found, held = {}, examples()
    alone = small_trainer(CPU)
    wanted = [
        alone.step(one, packs, draw_step(RULES, one.step, one.num_clips)).loss for one, packs in steps_of(3, held)
    ]
    for dtype, bound in _dtypes(device).items():
        subject, losses = small_trainer(device, dtype), []
        for one, packs in steps_of(3, held):
            draws = draw_step(RULES, one.step, one.num_clips)
            with no_waits(device) if one.step > 1 else nullcontext():
                launched = subject.launch(one, packs, draws)
            losses.append(launched.result().loss)
        found[str(dtype)] = _close(torch.tensor(losses), torch.tensor(wanted), bound)
        if dtype == torch.float32:
            ours = torch.cat([value.flatten().cpu() for value in subject.ema.average.values()])
            theirs = torch.cat([value.flatten() for value in alone.ema.average.values()])
            found["average"] = _close(ours, theirs, 1e-2)  # AdamW makes whole steps of gradients that are rounding
    return found


def bad_loss(device: torch.device) -> Found:
    """A loss that is no number moves no weight, on the device's own word, in that step and the next."""
    held = examples()
    subject = small_trainer(device)
    (first, good), (second, packs) = steps_of(2, held)
    spoilt = [[(slot, replace(clip, latent_mean=clip.latent_mean * float("nan"))) for slot, clip in p] for p in packs]
    before = {name: value.detach().clone() for name, value in subject.dit.named_parameters()}
    subject.launch(second, spoilt, draw_step(RULES, second.step, second.num_clips))
    subject.launch(first, good, draw_step(RULES, first.step, first.num_clips))
    moved = [name for name, value in subject.dit.named_parameters() if not torch.equal(value, before[name])]
    assert not moved, f"moved: {moved}"
    return {"weights moved": 0}


def matrices(device: torch.device) -> Found:
    """Muon's orthogonal matrices, tall and wide."""
    found = {}
    for rows, columns in ((64, 32), (32, 64)):
        given = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(rows))
        found[f"{rows}x{columns}"] = _close(orthogonalize(upload(given, device)), orthogonalize(given), 1e-2)
    return found


def snapshot(device: torch.device) -> Found:
    """A copy for a checkpoint holds the numbers of its moment, whatever is computed next."""
    from jobs.train import host

    value = upload(torch.arange(2.0**20), device)
    wanted = value.cpu().clone()
    copies, wait = host.copy({"value": value}, device)
    for _ in range(20):
        value.mul_(1.01)
    wait()
    assert torch.equal(copies["value"], wanted)
    assert copies["value"].device.type == "cpu"
    return {"bytes": value.nbytes}


@torch.no_grad()
def compiled(device: torch.device) -> Found:
    """Compiled blocks answer as they did, with one graph for two packs of other lengths."""
    if device.type != "cuda":
        return {"left out": "compiling takes a CPU half a minute; a test of its own does it"}
    layout = TINY.layouts[0]
    dit = build(layout, device)
    packs = [pack(clips(layout, shapes)).to(device) for shapes in (TINY.mix, TINY.small)]
    wanted = [dit(one) for one in packs]
    dit.compile_blocks()
    return {f"pack {index}": _close(dit(one), wanted[index], EXACT) for index, one in enumerate(packs)}


@torch.no_grad()
def noise_of_a_seed(device: torch.device) -> Found:
    """A seed is the same film's noise on every device."""
    assert torch.equal(flow.noise(7, (4, 8)), upload(flow.noise(7, (4, 8)), device).cpu())
    return {}


CHECKS: dict[str, Callable[[torch.device], Found]] = {
    check.__name__: check
    for check in (
        attention_kernels, forward, training, bad_loss, matrices, snapshot, noise_of_a_seed, compiled,
    )
}  # fmt: skip
