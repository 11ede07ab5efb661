"""What of the training recipe matters: spread of noise levels, optimiser, averages, alignment, and the sampler's shift.

``python -m benchmarks.scaling.recipe`` trains the demo's model at half the demo's budget, a choice changed at a time,
on the same clips in the same order, and prints the table of ``docs/scaling/recipe.json``; some 3 minutes of one core a
run. ``--seed 1`` does it again with other weights, draws and order.
"""

import argparse
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.scaling.alignment import AlignedTrainer, align, encoder_features, without_alignment
from benchmarks.scaling.averages import ConstantEma, PowerEma
from benchmarks.scaling.clips import FOLDER, ClipSet, scenes
from benchmarks.scaling.judge import pipeline, questions, rounded, sampled, scores, through_autoencoder
from benchmarks.scaling.results import Results
from benchmarks.scaling.runs import Recipe, averaged, dit_config, fresh, law_sigmas, make_trainer, steps, validate
from benchmarks.scaling.sizes import MIX, square_clips
from sora_core.dit.model import DiT
from sora_core.training.ema import Ema
from sora_core.training.masks import SHARES
from sora_core.training.trainer import Trainer

WIDTH, LAYERS = 128, 4
STEPS = 375
DEMO_STEPS = 750
SIGMAS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
ASKED = questions(("64x64",), (9, 17), 96, seed=7)

BASE, DEMO = Recipe(schedule_steps=STEPS), Recipe(schedule_steps=DEMO_STEPS)
RECIPES = {
    "base": BASE,
    "spread 1.4": replace(BASE, spread=1.4),
    "spread 1.7": replace(BASE, spread=1.7),
    "clean": replace(BASE, clean=True),
    "clean, spread 1.4": replace(BASE, clean=True, spread=1.4),
    "aligned": BASE,
    "AdamW": replace(BASE, muon_lr=None),
    "AdamW 3e-3": replace(BASE, muon_lr=None, lr=3e-3),
    "demo budget": DEMO,
    "demo budget, every edit": replace(DEMO, given=SHARES),
    "demo budget, every edit, half as often": replace(DEMO, given={kind: share / 2 for kind, share in SHARES.items()}),
    "demo budget, clean": replace(DEMO, clean=True),
    "demo budget, clean, spread 1.4": replace(DEMO, clean=True, spread=1.4),
}
DECAYS = (0.9, 0.97, 0.99)
WIDTHS = (0.025, 0.05, 0.1)  # relative standard deviations of power-law averages

SAMPLERS: Mapping[str, tuple[float, int]] = {
    "shift 3, 16 steps": (3.0, 16),
    "shift 1.5, 16 steps": (1.5, 16),
    "shift 6, 30 steps": (6.0, 30),
}
"""The sampler's own shift and steps beside the training's 6 and the 16 of every other row."""

SAMPLED = {"base": tuple(SAMPLERS), "spread 1.4": ("shift 3, 16 steps",), "spread 1.7": ("shift 3, 16 steps",)}


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A finished run: its model with averaged weights, and what was measured on the way."""

    dit: DiT
    measured: dict[str, Any]


def train(name: str, recipe: Recipe, clips: ClipSet) -> Trained:
    """Train, and judge each average of the same run by its validation losses."""
    trainer = _trainer(name, recipe, clips)
    named = [pair for pair in trainer.dit.named_parameters() if "alignment." not in pair[0]]
    others: dict[str, Ema] = {}
    if name == "base":
        others |= {f"decay {decay}": ConstantEma(named, decay) for decay in DECAYS}
        others |= {f"power law {width}": PowerEma(named, width) for width in WIDTHS}
    start = time.process_time()
    for planned in steps(trainer, clips, recipe):
        for other in others.values():
            other.update(planned.step)
        if planned.step == recipe.schedule_steps:
            break
    measured = {"seconds": round(time.process_time() - start, 1), "clips": planned.after.clips}
    levels = [*SIGMAS, *law_sigmas()]
    losses = validate(trainer, clips.val, levels)
    measured["losses"] = dict(zip(map(str, SIGMAS), np.round(losses, 4).tolist(), strict=False))
    measured["law"] = round(float(np.mean(losses[len(SIGMAS) :])), 4)
    own = trainer.ema
    for average, other in others.items():
        trainer.ema = other
        measured[average] = round(float(np.mean(validate(trainer, clips.val, law_sigmas()))), 4)
    trainer.ema = own
    dit = averaged(trainer)
    return Trained(without_alignment(dit) if name == "aligned" else dit, measured)


def _trainer(name: str, recipe: Recipe, clips: ClipSet) -> Trainer:
    dit = fresh(dit_config(WIDTH, LAYERS, clips), recipe.seed, clean=recipe.clean)
    if name != "aligned":
        return make_trainer(dit, clips, recipe)
    features = encoder_features("square", scenes(MIX, 1, 1600))
    width = next(iter(features.values())).shape[1]
    trainer = make_trainer(align(dit, 1, width, weight=0.5), clips, recipe, AlignedTrainer)
    assert isinstance(trainer, AlignedTrainer)
    trainer.features = features
    return trainer


def run(name: str, recipe: Recipe, clips: ClipSet, results: Results) -> DiT:
    """The model of this name, trained unless its weights are there; its scores go to the results."""
    key = f"{name}, seed {recipe.seed}"
    path = FOLDER / f"recipe-{key}.pt"
    if path.exists():
        dit = fresh(dit_config(WIDTH, LAYERS, clips), 0, clean=recipe.clean)
        dit.load_state_dict(torch.load(path, weights_only=True))
        return dit.eval()
    trained = train(name, recipe, clips)
    torch.save(trained.dit.state_dict(), path)
    shown = rounded(scores(ASKED, sampled(pipeline(trained.dit, clips), ASKED)))
    results.add(key, trained.measured | shown)
    logging.info("%s %s", key, results.runs[key])
    return trained.dit


def compare_samplers(name: str, dit: DiT, clips: ClipSet, results: Results, which: Sequence[str]) -> None:
    """The same model and seeds with other steps."""
    for sampler in which:
        shift, num_steps = SAMPLERS[sampler]
        if (key := f"{name}: {sampler}") not in results.runs:
            videos = sampled(pipeline(dit, clips, shift), ASKED, num_steps)
            results.add(key, rounded(scores(ASKED, videos)))
            logging.info("%s %s", key, results.runs[key])
            cv2.imwrite(str(FOLDER / f"{key}.png"), strip(videos))


def strip(videos: Sequence[np.ndarray]) -> np.ndarray:
    """First, middle and last frames of some videos, twice as large, as OpenCV writes them."""
    some = [np.concatenate([video[0], video[len(video) // 2], video[-1]], axis=1) for video in videos[:24]]
    rows = [np.concatenate(some[start : start + 4], axis=1) for start in range(0, len(some), 4)]
    return cv2.resize(np.concatenate(rows), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)[..., ::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    results, clips = Results("recipe"), square_clips()
    for name in arguments.only:
        dit = run(name, replace(RECIPES[name], seed=arguments.seed), clips, results)
        if arguments.seed == 0 and name in SAMPLED:
            compare_samplers(name, dit, clips, results, SAMPLED[name])
    if (truth := "truth through the autoencoder") not in results.runs:
        results.add(truth, rounded(scores(ASKED, through_autoencoder(pipeline(dit, clips), ASKED))))


if __name__ == "__main__":
    main()
