"""The small model of the controlled world, trained with the time that is left, its weights in parts."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.gpu.layouts import Layout
from benchmarks.gpu.stage import Stage
from sora_core import precision
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.dit.model import DiT
from sora_core.training.draws import DrawRules, draw_step
from sora_core.training.optim import OptimRules
from sora_core.training.plan import Plan, PlanRules
from sora_core.training.step import Example, Objective
from sora_core.training.trainer import Trainer
from sora_core.vae.whitening import Whitening, WhiteningStatistics

SMALL = Layout("small", 8, 64, 2048, 12)
PART_BYTES = 15_000_000
_SAID_EVERY = 20


def learn(stage: Stage) -> None:
    """Steps until the end; the losses as they come, the averaged weights in parts when it is over."""
    clips, null_text, whitening = read(stage.inputs) if stage.inputs else made_up(stage)
    tiny = stage.device.type == "cpu"
    layout = stage.scale.layouts[0] if tiny else SMALL
    channels, text_dim = clips[0].latent_mean.shape[0], clips[0].text.shape[1]
    config = DiTConfig(
        num_attention_heads=layout.heads, attention_head_dim=layout.head_dim, in_channels=channels,
        out_channels=channels, text_dim=text_dim, ffn_dim=layout.ffn_dim, num_layers=layout.layers, pooled_text=True,
        patch_size=(1, 1, 1), data_variance=whitening.variances(),
    )  # fmt: skip
    torch.manual_seed(0)
    num_steps, dtype = 6 if tiny else 20_000, precision.fast_dtype(stage.device)
    objective = Objective(config.patch, whitening, ShiftLaw(6.0), null_text)
    rules = OptimRules(1e-3, 0.01, (0.9, 0.95), 0.0, 2000, 1.0, decay_steps=max(1, num_steps // 5))
    trainer = Trainer(
        DiT(config), objective, rules, num_steps=num_steps, ema_decay=0.999, precision=dtype, device=stage.device
    )
    stage.note("parameters", trainer.dit.num_params)
    stage.note("clips", len(clips))
    _steps(stage, trainer, clips, num_steps, tiny=tiny)
    stage.note("parts", write_parts(trainer, config, whitening, stage.out / "small"))


def _steps(stage: Stage, trainer: Trainer, clips: list[Example], num_steps: int, *, tiny: bool) -> None:
    lengths = np.array([clip.latent_mean[0].numel() for clip in clips])
    rules = PlanRules(0, max(int(lengths.max()), 512 if tiny else 16_384), 1 if tiny else 2, 72.0)
    began, losses, tokens, launched = time.monotonic(), [], 0, None
    work = 0.0
    for planned in Plan(lengths, rules).steps():
        packs = [
            list(enumerate((clips[number] for number in numbers), start=first))
            for numbers, first in zip(planned.packs, planned.first_slots, strict=True)
        ]
        draws = draw_step(DrawRules(0, 0.1, {"first_frame": 0.1}), planned.step, planned.num_clips)
        before, launched = launched, trainer.launch(planned, packs, draws)
        tokens += planned.num_tokens
        work += sum(3 * flops(trainer.dit.config, of.tolist(), [12] * len(of)) for of in planned.lengths)
        if before is not None:
            losses.append(before.result().loss)
        if time.time() > stage.end or planned.step == num_steps:
            break
        if planned.step % _SAID_EVERY == 0:
            stage.note("steps", planned.step)
            stage.note("losses", [round(loss, 4) for loss in losses[:: max(1, len(losses) // 50)]])
    losses.append(launched.result().loss if launched is not None else float("nan"))
    spent = time.monotonic() - began
    stage.note("steps", len(losses))
    stage.note("loss, first and last tenth", [float(np.mean(losses[: -(-len(losses) // 10)])),
                                              float(np.mean(losses[-(-len(losses) // 10) * -1 :]))])  # fmt: skip
    stage.note("tokens a second", tokens / spent)
    stage.note("TFLOP/s", work / spent / 1e12)


def read(path: Path) -> tuple[list[Example], torch.Tensor, Whitening]:
    """The clips that `benchmarks.gpu.inputs` wrote."""
    held = load_file(path)
    count = int(held["count"])
    clips = [
        Example(str(n), held[f"{n}.mean"], held[f"{n}.std"], held[f"{n}.text"]) for n in range(count)
    ]  # fmt: skip
    return clips, held["null_text"].float(), Whitening(*(tuple(held[name].tolist()) for name in ("mean", "std")))


def made_up(stage: Stage) -> tuple[list[Example], torch.Tensor, Whitening]:
    """Clips of noise, where no inputs were given: they tell the rate, and nothing of what is learned."""
    generator = torch.Generator().manual_seed(0)
    shapes = stage.scale.small
    clips = []
    for number in range(24):
        mean = torch.randn(4, *shapes[number % len(shapes)], generator=generator)
        clips.append(Example(str(number), mean, torch.full_like(mean, 0.1), torch.randn(6, 12, generator=generator)))
    stage.note("inputs", "none were given: clips of noise")
    statistics = WhiteningStatistics()
    for clip in clips:
        statistics.update(clip.latent_mean)
    return clips, torch.zeros(1, 12), statistics.result()


def write_parts(trainer: Trainer, config: DiTConfig, whitening: Whitening, folder: Path) -> int:
    """The averages in 16 bits in files of less than 16 MB, and what they are of; how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, torch.Tensor]] = [{}]
    held = 0
    for name, value in trainer.ema.average.items():
        small = value.cpu().half().contiguous()
        if held + small.nbytes > PART_BYTES and parts[-1]:
            parts.append({})
            held = 0
        parts[-1][name] = small
        held += small.nbytes
    for number, part in enumerate(parts):
        save_file(part, folder / f"model-{number:03d}.safetensors")
    about = {"dit": config.to_dict(), "whitening": {"mean": whitening.mean, "std": whitening.std}}
    (folder / "about.json").write_text(json.dumps(about))
    return len(parts)
