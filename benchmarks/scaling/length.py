"""A clip made whole, against stitched from short clips, against frame by frame: how far each drifts.

``python -m benchmarks.scaling.length`` trains one model on 33-frame scenes and on short windows of the same scenes, at
the same speed of motion, often with the first frame given. It then continues the true first frame of scenes that it
never saw to 33 frames: at once (9 latent frames), in windows of 9 frames that each start from the last frame of the
one before, and latent frame by latent frame (windows of 5). Results: ``docs/scaling/length.json``,
``docs/images/scaling-length.png``; some 12 minutes of one core.
"""

import argparse
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields

import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.scaling.clips import FOLDER, ClipSet, Footage, encoded, scenes
from benchmarks.scaling.drift import Drift, measure
from benchmarks.scaling.judge import NUM_STEPS, pipeline, through_autoencoder
from benchmarks.scaling.results import Results, image
from benchmarks.scaling.runs import Recipe, dit_config, fresh, trained
from jobs.evaluate.sampling import Frames, Question, generate
from sora_core.dit.model import DiT
from sora_core.edits import first_frame
from sora_core.pipeline import Pipeline, Request
from sora_core.precision import autocast, fast_dtype
from sora_core.world.readback import read, score
from sora_core.world.render import render
from sora_core.world.scene import Mix
from sora_core.world.words import sample

FRAMES = 33
WINDOWS = (9, 5)
MIX = Mix.parse({"64x64": 1.0}, {FRAMES: 1.0}, {1: 1.0})
WIDTH, LAYERS = 128, 4
STEPS = 360
GIVEN = {"first_frame": 0.6}
NUM_CLIPS = 20
WAYS = {"whole clip": FRAMES, "stitched clips of 9": 9, "frame by frame": 5}
TRUTH = "truth through the autoencoder"


def windows(footage: Iterator[Footage]) -> Iterator[Footage]:
    """Each clip whole, and a random window of each short length."""
    rng = np.random.default_rng(0)
    for item in footage:
        yield item
        for length in WINDOWS:
            start = int(rng.integers(FRAMES - length + 1))
            yield Footage(f"{item.name}-{length}", item.caption, item.frames[start : start + length])


def long_clips() -> ClipSet:
    """300 scenes of 33 frames, each with two windows; 8 more for validation."""
    return encoded("long", windows(scenes(MIX, 21, 300)), windows(scenes(MIX, 22, 8)))


def model_of(clips: ClipSet, results: Results) -> DiT:
    recipe = Recipe(schedule_steps=STEPS, given=GIVEN, clean=True)
    dit = fresh(dit_config(WIDTH, LAYERS, clips), recipe.seed, clean=recipe.clean)
    return trained(FOLDER / "length.pt", dit, clips, recipe, lambda _, spent: results.add("training", spent))


def continued(pipe: Pipeline, asked: Sequence[Question], window: int) -> list[Frames]:
    """33 frames from the true first one, ``window`` at a time, each from the last frame of those before."""
    videos = [render(question.scene)[:1] for question in asked]
    while videos[0].shape[0] < FRAMES:
        length = min(window, FRAMES - videos[0].shape[0] + 1)
        wanted = [
            Request(
                prompt=question.prompt,
                num_frames=length,
                height=64,
                width=64,
                num_inference_steps=NUM_STEPS,
                seed=1000 * number + videos[0].shape[0],
                canvas=first_frame(video[-1], length),
            )
            for number, (question, video) in enumerate(zip(asked, videos, strict=True))
        ]
        parts = generate(pipe, wanted, 4096)
        videos = [np.concatenate([video, part[1:]]) for video, part in zip(videos, parts, strict=True)]
    return videos


def compare(dit: DiT, clips: ClipSet, results: Results) -> None:
    """The drift of every way goes to the results."""
    pipe = pipeline(dit, clips)
    scenes_asked = [sample(MIX, 23 * 2**32 + number) for number in range(NUM_CLIPS)]
    asked = [Question(scene, unseen=False) for scene in scenes_asked]
    truths = [render(scene) for scene in scenes_asked]
    for way in (*WAYS, TRUTH):
        start = time.process_time()
        made = through_autoencoder(pipe, asked) if way == TRUTH else continued(pipe, asked, WAYS[way])
        seconds = time.process_time() - start
        drifts = [measure(video, truth) for video, truth in zip(made, truths, strict=True)]
        by_frame = {field.name: _mean(drifts, field.name) for field in fields(Drift)}
        hits = [score(read(video), question.scene.attributes) for video, question in zip(made, asked, strict=True)]
        right = {name: round(float(np.mean([hit[name] for hit in hits])), 3) for name in hits[0]}
        results.add(way, {"seconds": round(seconds, 1), "read": right, "drift": by_frame})
        logging.info("%s: %.0f s, %s, last frame %s", way, seconds, right, {n: v[-1] for n, v in by_frame.items()})


def _mean(drifts: Sequence[Drift], name: str) -> list[float]:
    """By frame, over the clips that still show the object there."""
    values = np.stack([getattr(drift, name) for drift in drifts])
    return [round(float(value), 4) for value in np.nanmean(values, axis=0)]


def draw(results: Results) -> None:
    """A panel for each kind of drift, a line for each way."""
    titles = {
        "hue": "hue of the object against the first frame, degrees",
        "outline": "overlap of its outline with the first frame's",
        "position": "distance from the true position, sides",
        "crooked": "distance from its own straight line, sides",
        "ground": "colour of the ground against the truth, of 255",
        "lost": "share of clips without the object",
    }
    figure, panels = plt.subplots(2, 3, figsize=(15, 7))
    for axes, (name, title) in zip(panels.flat, titles.items(), strict=True):
        for way in (*WAYS, TRUTH):
            style = "k:" if way == TRUTH else "-"
            axes.plot(results.runs[way]["drift"][name], style, label=way)
        axes.set(title=title, xlabel="frame")
        axes.grid(alpha=0.3)
    panels[0, 0].legend()
    figure.tight_layout()
    figure.savefig(image("length"), dpi=80)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    results, clips = Results("length"), long_clips()
    dit = model_of(clips, results)
    with autocast("cpu", fast_dtype("cpu")):
        compare(dit, clips, results)
    draw(results)


if __name__ == "__main__":
    main()
