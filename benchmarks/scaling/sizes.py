"""Loss against compute: four sizes of the transformer, and a U-Net of equal parameters and compute.

``python -m benchmarks.scaling.sizes`` trains what ``docs/scaling/sizes.json`` lacks (some 40 minutes of one core) and
draws ``docs/images/scaling-sizes.png``. All runs see the same clips with the same noise law; the rates stay constant,
so that every point of a curve is as good as a run that ended there, and the averaged weights are judged.
"""

import argparse
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.scaling.clips import ClipSet, encoded, scenes
from benchmarks.scaling.results import Results, image
from benchmarks.scaling.runs import (
    Recipe,
    dit_config,
    fresh,
    law_sigmas,
    make_trainer,
    step_flops,
    steps,
    validate,
)
from benchmarks.scaling.unet import UNetDenoiser
from sora_core.precision import fast_dtype
from sora_core.world.scene import Mix

MIX = Mix.parse({"64x64": 1}, {1: 0.1, 5: 0.3, 9: 0.3, 17: 0.3}, {1: 1})
FIRST_POINT = 2e11  # operations
POINTS_PER_DOUBLING = 2
RATES = (7.5e-4, 1.5e-3, 3e-3)
SEARCH, LONG = 0.4e12, 1.6e12  # operations of a run that tries a rate, and of the one at the best


@dataclass(frozen=True, slots=True)
class Run:
    """A model, its optimiser's rates and the operations that it may spend."""

    name: str
    width: int
    layers: int
    budget: float
    lr: float = 1.5e-3
    muon_lr: float | None = 0.02
    unet: tuple[int, ...] = ()


UNET = (16, 40, 40)
"""Widths at 8x8, 4x4 and 2x2 latents: 1.35 M parameters and 2.26 MFLOP a token, the DiT 128x4 1.34 M and 2.07."""

RUNS = (
    Run("DiT 64x3", 64, 3, 6e12),
    Run("DiT 96x3", 96, 3, 8e12),
    Run("DiT 128x4", 128, 4, 14.5e12),
    Run("DiT 192x5", 192, 5, 4e12),
    # AdamW for both, each at the best of three rates, so that the optimiser doesn't decide.
    *(Run(f"DiT 128x4, AdamW {lr}", 128, 4, SEARCH, lr, None) for lr in RATES),
    *(Run(f"U-Net, AdamW {lr}", 128, 4, SEARCH, lr, None, UNET) for lr in RATES),
)


def square_clips() -> ClipSet:
    """1,600 clips of 64x64 pixels and 1 to 17 frames, 64 more for validation."""
    return encoded("square", scenes(MIX, 1, 1600), scenes(MIX, 2, 64))


def train(run: Run, clips: ClipSet) -> dict[str, Any]:
    """The curve of a run: operations, clips seen, CPU seconds and validation loss."""
    # The peer's gradients in 16 bits on a CPU aren't finite.
    precision = torch.float32 if run.unet else fast_dtype("cpu")
    recipe = Recipe(given={}, lr=run.lr, muon_lr=run.muon_lr, precision=precision)
    config = dit_config(run.width, run.layers, clips)
    model = UNetDenoiser(config, run.unet) if run.unet else fresh(config, recipe.seed)
    trainer = make_trainer(model, clips, recipe)
    per_token = model.flops_per_token(clips) if isinstance(model, UNetDenoiser) else None
    spent = seconds = 0.0
    points: list[dict[str, Any]] = []
    wait_until, start = FIRST_POINT, time.process_time()
    for planned in steps(trainer, clips, recipe):
        spent += step_flops(config, clips, planned) if per_token is None else 3 * per_token * planned.num_tokens
        if spent < min(wait_until, run.budget):
            continue
        seconds += time.process_time() - start
        losses = validate(trainer, clips.val, law_sigmas())
        point = {"flops": spent, "clips": planned.after.clips, "seconds": round(seconds, 1)}
        points.append(point | {"losses": [round(loss, 4) for loss in losses]})
        logging.info("%s: %.2f TFLOP, %d clips, %.0f s: %.4f", run.name, spent / 1e12, planned.after.clips, seconds,
                     np.mean(losses))  # fmt: skip
        wait_until, start = spent * 2 ** (1 / POINTS_PER_DOUBLING), time.process_time()
        if spent >= run.budget:
            break
    return {"params": sum(p.numel() for p in trainer.dit.parameters()), "points": points}


def draw(results: Results) -> None:
    """Curves of validation loss over operations, the frontier, and the same over CPU time."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), sharey=True)
    points = []
    for name, run in results.runs.items():
        if "AdamW" in name and not name.endswith("long"):
            continue
        losses = [np.mean(point["losses"]) for point in run["points"]]
        style = "--" if name.startswith("U-Net") else "-"
        label = f"{name.removesuffix(', long')}, {run['params'] / 1e6:.2f} M"
        left.plot([point["flops"] for point in run["points"]], losses, style, marker=".", label=label)
        right.plot([point["seconds"] for point in run["points"]], losses, style, marker=".", label=label)
        if name.startswith("DiT") and "AdamW" not in name:
            points += [(point["flops"], loss) for point, loss in zip(run["points"], losses, strict=True)]
    frontier = [(flops, loss) for flops, loss in sorted(points) if loss == min(v for f, v in points if f <= flops)]
    left.plot(*zip(*frontier, strict=True), color="black", linewidth=4, alpha=0.15, label="frontier of the DiTs")
    left.set(xscale="log", xlabel="operations of training", ylabel="validation loss, mean over the law's noise levels")
    right.set(xscale="log", xlabel="CPU seconds of one core")
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(image("sizes"), dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the runs whose name holds this")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    results, clips = Results("sizes"), square_clips()
    for run in RUNS:
        if (arguments.only or "") in run.name:
            _once(run, clips, results)
    for kind in ("DiT 128x4, AdamW", "U-Net, AdamW"):
        if (arguments.only or "") in kind:
            _once(_at_best_rate(kind, results), clips, results)
    draw(results)


def _once(run: Run, clips: ClipSet, results: Results) -> None:
    if run.name not in results.runs:
        results.add(run.name, train(run, clips))


def _at_best_rate(kind: str, results: Results) -> Run:
    """The long run of a kind, at the rate whose short run ended lowest."""
    tried = [run for run in RUNS if run.name.startswith(kind)]
    best = min(tried, key=lambda run: float(np.mean(results.runs[run.name]["points"][-1]["losses"])))
    return replace(best, name=f"{best.name}, long", budget=LONG)


if __name__ == "__main__":
    main()
