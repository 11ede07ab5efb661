"""What an edit costs: an extension of a short source and a long one, a repaint of a tenth of the picture and the whole.

``python -m benchmarks.edits.cost`` prints CPU seconds, best of three, and operations of the transformer; the weights
are random, for the work doesn't depend on them.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.scaling.clips import FPS
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.edits import Clip, Edit, Extend, Region, Repaint, make_canvas, plan_windows
from sora_core.pipeline import Pipeline, Request, edit
from sora_core.pipeline.editing import window_request
from sora_core.pipeline.generation import Generation
from sora_core.pipeline.parts import EXTRAPOLATION, Parts, Sampling
from sora_core.shapes import PixelShape
from sora_core.text import TextEncoder
from sora_core.training.masks import KINDS
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import Whitening

STEPS = 8
REFRESHED = 4  # what benchmarks.edits.study finds inside 30 dB
SIDE, FRAMES = 256, 17
TENTH = round((0.1 * SIDE**2) ** 0.5)


@dataclass(frozen=True, slots=True)
class Row:
    """An edit to time; ``of`` is the row that it is compared with, ``every`` how often kept tokens are computed."""

    name: str
    edit: Edit
    sources: list[Clip]
    every: int = 1
    of: int | None = None


def random_pipeline() -> "Timed":
    """A model of the demo's sizes that takes clips of 256x256."""
    torch.manual_seed(0)
    vae, text = VideoAutoencoder.load(), TextEncoder.load()
    channels = vae.channels
    config = DiTConfig(
        num_attention_heads=4, attention_head_dim=32, in_channels=channels, out_channels=channels, text_dim=text.dim,
        ffn_dim=512, num_layers=4, pooled_text=True,
    )  # fmt: skip
    whitening = Whitening((0.0,) * channels, (1.0,) * channels)
    tokens = 5 * (SIDE // 16) ** 2 * EXTRAPOLATION
    sampling = Sampling(ShiftLaw(6.0), 1.5)
    return Timed(Parts("random", DiT(config), vae, text, whitening, sampling, FPS, tokens, frozenset(KINDS)))


def operations(pipe: Pipeline, asked: Edit, sources: Sequence[Clip]) -> float:
    """Of the transformer, over all windows and steps."""
    plan = plan_windows(asked, [PixelShape(*source.shape[:3]) for source in sources], pipe.room)
    film = plan.film
    request = Request(
        prompt="x", num_frames=film.frames, height=film.height, width=film.width, num_inference_steps=STEPS
    )
    made = [
        np.zeros((window.shape.frames, window.shape.height, window.shape.width, 3), np.uint8) for window in plan.windows
    ]
    canvases = (make_canvas(plan, index, sources, made[:index]) for index in range(len(plan.windows)))
    return sum(pipe.start(window_request(request, plan, index, canvas)).cost for index, canvas in enumerate(canvases))


def seconds(pipe: "Timed", row: Row) -> tuple[float, float]:
    """Of the whole edit, autoencoder and all, and of its denoising."""
    found = []
    for _ in range(3):
        pipe.denoising, began = 0.0, time.process_time()
        edit(pipe, row.edit, row.sources, "x", num_inference_steps=STEPS, refresh_given_every=row.every)
        found.append((time.process_time() - began, pipe.denoising))
    return min(found)


class Timed(Pipeline):
    """Sums the CPU seconds of its steps."""

    denoising = 0.0

    def step(self, generations: Sequence[Generation]) -> None:
        began = time.process_time()
        super().step(generations)
        self.denoising += time.process_time() - began


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    pipe = random_pipeline()
    source = np.random.default_rng(0).integers(0, 256, (5 * FRAMES, SIDE, SIDE, 3), np.uint8)
    short, place = [source[:FRAMES]], (SIDE - TENTH) // 2
    tenth = Repaint((Region(0, FRAMES, place, place, TENTH, TENTH),))
    rows = [
        Row(f"extend {FRAMES} frames by 12", Extend(12), short),
        Row(f"extend {5 * FRAMES} frames by 12", Extend(12), [source], of=0),
        Row(f"extend {FRAMES} frames by 12, kept tokens at every 4th step", Extend(12), short, every=REFRESHED, of=0),
        Row("repaint all of the picture", Repaint((Region(0, FRAMES, 0, 0, SIDE, SIDE),)), short),
        Row("repaint a tenth of it", tenth, short, of=3),
        Row("repaint a tenth of it, kept tokens at every 4th step", tenth, short, every=REFRESHED, of=4),
    ]
    print(f"{SIDE}x{SIDE} pixels, {STEPS} steps\n")
    print("| edit | CPU seconds | of them denoising | GFLOP, all tokens at every step | of |\n|---|---|---|---|---|")
    done: list[tuple[float, float]] = []
    for row in rows:
        done.append(seconds(pipe, row))
        whole, steps = done[-1]
        work = operations(pipe, row.edit, row.sources) / 1e9
        ratio = ""
        if row.of is not None:
            ratio = f"{rows[row.of].name}: {whole / done[row.of][0]:.2f}, denoising {steps / done[row.of][1]:.2f}"
        print(f"| {row.name} | {whole:.2f} | {steps:.2f} | {work:.0f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
