"""Native sizes in packs against centre square crops, and sizes and lengths never seen in training.

``python -m benchmarks.scaling.shapes`` trains two models of one architecture with equal compute on the same scenes of
five aspects: one on whole clips packed as they are, one on their centre squares scaled to 64x64. Both are then asked
for squares, for the footage's sizes, and for sizes and lengths that neither has met. Results:
``docs/scaling/shapes.json``, ``docs/images/scaling-shapes.png``; some 20 minutes of one core.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.scaling.clips import FOLDER, ClipSet, Footage, encoded, scenes
from benchmarks.scaling.judge import (
    pipeline,
    questions,
    rounded,
    sampled,
    scores,
    through_autoencoder,
)
from benchmarks.scaling.results import Results, image
from benchmarks.scaling.runs import Recipe, dit_config, fresh, law_sigmas, trained, validate
from jobs.evaluate.sampling import Question
from jobs.evaluate.sheet import draw_sheet
from sora_core.diffusion.flow import noise
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack
from sora_core.precision import autocast, fast_dtype
from sora_core.shapes import LatentShape, Patch
from sora_core.training.plan import Plan, PlanRules
from sora_core.training.trainer import Trainer
from sora_core.world.scene import Mix

SIZES = ("64x64", "96x48", "48x96", "80x64", "64x80")
FRAMES = {1: 0.1, 5: 0.3, 9: 0.3, 17: 0.3}
MIX = Mix.parse(dict.fromkeys(SIZES, 1.0), FRAMES, {1: 1.0})
WIDTH, LAYERS = 128, 4
STEPS = 600
BATCH = 26  # clips: as many as a step of packs holds

ASKED: dict[str, tuple[Sequence[str], Sequence[int], int]] = {
    "squares": (("64x64",), (9, 17), 32),
    "the footage's sizes": (SIZES[1:], (9, 17), 32),
    "unseen sizes between: 80x48, 48x80": (("80x48", "48x80"), (9, 17), 32),
    "unseen sizes beyond: 112x48, 48x112": (("112x48", "48x112"), (9, 17), 32),
    "unseen length between: 13 frames": (SIZES, (13,), 32),
    "unseen length beyond: 21 frames": (SIZES, (21,), 32),
    "unseen size and length: 80x48, 13 frames": (("80x48", "48x80"), (13,), 32),
}


def cropped(footage: Iterator[Footage], side: int = 64) -> Iterator[Footage]:
    """The centre square of each clip, scaled to one size: how fixed-size training sees it."""
    for item in footage:
        _, height, width, _ = item.frames.shape
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        square = item.frames[:, top : top + short, left : left + short]
        if short != side:
            square = np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in square])
        yield Footage(item.name, item.caption, square)


def native_clips() -> ClipSet:
    """2,000 whole clips of five aspects, 100 more for validation."""
    return encoded("native", scenes(MIX, 11, 2000), scenes(MIX, 12, 100))


def square_crops(native: ClipSet) -> ClipSet:
    """The centre squares of the same clips, whitened alike, so that losses compare."""
    crops = encoded("crops", cropped(scenes(MIX, 11, 2000)), cropped(scenes(MIX, 12, 100)))
    return replace(crops, whitening=native.whitening)


def model_of(name: str, clips: ClipSet, native: ClipSet, results: Results) -> DiT:
    """The model of this name: from `FOLDER`, or trained now and judged on the native validation clips."""
    recipe = Recipe(schedule_steps=STEPS, clean=True)

    def judged(trainer: Trainer, spent: dict[str, Any]) -> None:
        losses = {size: validate(trainer, examples, law_sigmas()) for size, examples in _by_size(native).items()}
        results.add(f"training, {name}", spent | {"losses": losses})

    dit = fresh(dit_config(WIDTH, LAYERS, clips), recipe.seed, clean=recipe.clean)
    return trained(FOLDER / f"shapes-{name}.pt", dit, clips, recipe, judged)


def _by_size(clips: ClipSet) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for example in clips.val:
        _, _, height, width = example.latent_mean.shape
        found.setdefault(f"{8 * width}x{8 * height}", []).append(example)
    return found


def judge_all(name: str, dit: DiT, clips: ClipSet, results: Results) -> None:
    """What a model's videos show at every asked shape, and, once, what the truth shows through the autoencoder."""
    for shape, (sizes, frames, count) in ASKED.items():
        if name == "crops" and "length" in shape:
            continue  # it has seen all lengths but those, like the other: only sizes set the two apart
        asked = questions(sizes, frames, count)
        for who in (name, "truth through the autoencoder"):
            if (row := f"{who}: {shape}") not in results.runs:
                make = sampled if who == name else through_autoencoder
                results.add(row, rounded(scores(asked, make(pipeline(dit, clips), asked))))
                logging.info("%s %s", row, results.runs[row])


def padding(clips: ClipSet) -> dict[str, float]:
    """The share of computed tokens that are real: packs, random batches padded to their largest sides, and batches of
    like size padded."""
    patch, tokens = Patch(), clips.tokens(Patch())
    window = Plan(tokens, PlanRules(0, 1280, 2, 896.0)).window(0)
    order = np.random.default_rng(0).permutation(len(tokens))
    like = order[np.argsort(tokens[order], kind="stable")]
    shapes = [patch.grid(LatentShape(*example.latent_mean.shape)) for example in clips.train]

    def share(order: np.ndarray) -> float:
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        computed = 0
        for batch in batches:
            sides = np.array([(shapes[n].frames, shapes[n].height, shapes[n].width) for n in batch])
            computed += len(batch) * int(sides.max(0).prod())
        return float(tokens.sum() / computed)

    filled = float(sum(window.lengths[pack].sum() for pack in window.packs) / (1280 * len(window.packs)))
    return {"packed": filled, "padded, random batches": share(order), "padded, like sizes": share(like)}


def speed(clips: ClipSet, batches: int = 6) -> dict[str, float]:
    """Clips a CPU second of forward and backward over the same clips, packed and padded, in turns."""
    dit = fresh(dit_config(WIDTH, LAYERS, clips), 0)
    some = np.random.default_rng(1).permutation(len(clips.train))[: batches * BATCH]
    like = some[np.argsort(clips.tokens(Patch())[some], kind="stable")]
    spent = {"packed": 0.0, "padded, random batches": 0.0, "padded, like sizes": 0.0}
    _step_seconds(dit, [_clip(clips, n, None) for n in some[:BATCH]])
    for start in range(0, len(some), BATCH):
        for way, source in zip(spent, (some, some, like), strict=True):
            batch = source[start : start + BATCH]
            sides = np.array([clips.train[n].latent_mean.shape[1:] for n in batch]).max(0)
            padding = None if way == "packed" else tuple(map(int, sides))
            spent[way] += _step_seconds(dit, [_clip(clips, n, padding) for n in batch])
    return {way: len(some) / seconds for way, seconds in spent.items()}


def _clip(clips: ClipSet, number: int, sides: tuple[int, ...] | None) -> Clip:
    example = clips.train[number]
    latent = example.latent_mean.float()
    if sides is not None:
        padded = latent.new_zeros(len(latent), *sides)
        padded[:, : latent.shape[1], : latent.shape[2], : latent.shape[3]] = latent
        latent = padded
    return Clip(latent + noise(int(number), latent.shape), 0.9, example.text.float())


def _step_seconds(dit: DiT, batch: list[Clip]) -> float:
    start = time.process_time()
    with autocast("cpu", fast_dtype("cpu")):
        dit(pack(batch)).float().square().mean().backward()
    dit.zero_grad(set_to_none=True)
    return time.process_time() - start


def sheet(models: dict[str, tuple[DiT, ClipSet]]) -> bytes:
    """Unseen sizes from both models, a row of each."""
    from jobs.evaluate.sampling import judge

    asked: list[Question] = []
    answers = []
    for sizes in (("96x48",), ("48x80",)):
        some = questions(sizes, (17,), 3, seed=5)
        for dit, clips in models.values():
            asked += some
            answers += [
                judge(question, video)
                for question, video in zip(some, sampled(pipeline(dit, clips), some), strict=True)
            ]
    return draw_sheet(asked, answers)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    results, native = Results("shapes"), native_clips()
    crops = square_crops(native)
    models = {
        "native": (model_of("native", native, native, results), native),
        "crops": (model_of("crops", crops, native, results), crops),
    }
    with autocast("cpu", fast_dtype("cpu")):
        for name, (dit, clips) in models.items():
            judge_all(name, dit, clips, results)
    for row, measure in (("real tokens", padding), ("clips a second", speed)):
        _once(results, row, lambda measure=measure: rounded(measure(native)))
    image("shapes").write_bytes(sheet(models))


def _once(results: Results, row: str, make: Callable[[], object]) -> None:
    if row not in results.runs:
        results.add(row, make())


if __name__ == "__main__":
    main()
