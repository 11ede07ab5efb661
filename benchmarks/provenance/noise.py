"""A mark in the noise that a video begins from: read back by running the sampler backwards, before and after H.264.

``make bench NAME=provenance.noise [ARGS="--checkpoint URI --frames 17 --side 64"]``: some two minutes of one core
with the shipped model.

The signs of the noise are a keyed repetition of 64 bits, their sizes those of a normal law, so nothing about the video
changes (Gaussian Shading, Yang et al. 2024). A reader encodes the frames and follows the flow from data to noise,
without the prompt, which it doesn't know; the sum of the signs says each bit.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.provenance.attacks import Frames, coded, scaled
from sora_core import shipped
from sora_core.diffusion.solvers import sigmas
from sora_core.dit.model import Context
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.pipeline import Pipeline
from sora_core.pipeline.generation import Request
from sora_core.shapes import LatentShape

BITS = 64
INVERSION_STEPS = 30
FPS = 8.0
_LEAST_SIGMA = 1e-3
PROMPTS = tuple(
    f"a {colour} {shape} moves {way} over {ground}"
    for colour, shape, way, ground in (
        ("red", "ball", "left", "grass"), ("green", "square", "right", "sand"), ("blue", "ball", "up", "snow"),
        ("yellow", "square", "down", "water"), ("cyan", "ring", "left", "sand"), ("magenta", "triangle", "up", "grass"),
        ("red", "square", "right", "snow"), ("blue", "square", "left", "sand"),
    )
)  # fmt: skip


def cropped(frames: Frames) -> Frames:
    height, width = frames.shape[1:3]
    inside = frames[:, height // 20 : -(height // 20), width // 20 : -(width // 20)]
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in inside])


SEEN: dict[str, Callable[[Frames], Frames]] = {
    "frames as they are": lambda frames: frames,
    "H.264 at crf 18": lambda frames: coded(frames, 18, FPS),
    "H.264 at crf 23": lambda frames: coded(frames, 23, FPS),
    "H.264 at crf 28": lambda frames: coded(frames, 28, FPS),
    "half the size and back, crf 23": lambda frames: scaled(coded(scaled(frames, 0.5), 23, FPS), 2.0),
    "10 % cropped and back, crf 23": lambda frames: cropped(coded(frames, 23, FPS)),
    "without its first frame, crf 23": lambda frames: coded(np.concatenate([frames[1:], frames[-1:]]), 23, FPS),
}


class Key:
    """Which bit each value of a latent repeats, and which of them are turned over."""

    def __init__(self, secret: int, count: int) -> None:
        random = np.random.default_rng(secret)
        self.bit = torch.from_numpy(random.permutation(count) % BITS)
        self.turned = torch.from_numpy(random.choice([-1.0, 1.0], count)).float()

    def noise(self, bits: Float[Tensor, " b"], shape: tuple[int, ...], seed: int) -> Tensor:
        """Normal values whose signs say the bits (-1 or 1)."""
        size = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).abs()
        return size * (bits[self.bit] * self.turned).reshape(shape)

    def read(self, noise: Tensor) -> Tensor:
        """The bits that noise says."""
        told = (noise.flatten() * self.turned).double()
        return torch.zeros(BITS, dtype=torch.float64).index_add(0, self.bit, told).sign().float()


@torch.no_grad()
def inverted(pipeline: Pipeline, frames: Frames) -> Tensor:
    """The noise that frames came from, as far as the model knows without the prompt."""
    latent = pipeline._encode(frames)
    [text] = pipeline.text_encoder.encode([""])
    context = Context.join([pipeline.dit.context(text, None)])
    patch = pipeline.dit.config.patch
    shift = pipeline.sampling.shift.shift_for(patch.grid(LatentShape(*latent.shape)).num_tokens)
    levels = sigmas(INVERSION_STEPS, shift).flip(0).tolist()
    no_text = latent.new_zeros(0, pipeline.dit.config.text_dim)
    for sigma, later in pairwise(levels):
        packed = pack([Clip(latent, max(sigma, _LEAST_SIGMA), no_text)], patch)
        [velocity] = unpack(packed, pipeline.dit(packed, context).float())
        latent = latent + (later - sigma) * velocity
    return latent


def marked(pipeline: Pipeline, request: Request, key: Key, bits: Tensor) -> tuple[Tensor, Frames]:
    """A video whose noise carries bits, and that noise."""
    generation = pipeline.start(request)
    noise = key.noise(bits, tuple(generation.latent.shape), request.seed)
    generation.latent = noise
    while not generation.done:
        pipeline.step([generation])
    return noise, pipeline.decode(generation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=shipped.TINY)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--side", type=int, default=64)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = Pipeline.load(wanted.checkpoint, "cpu")
    told: dict[tuple[float, str], list[tuple[float, float]]] = defaultdict(list)
    for guidance in (1.0, pipeline.sampling.guidance_scale):
        for seed, prompt in enumerate(PROMPTS):
            request = Request(
                prompt=prompt, num_frames=wanted.frames, height=wanted.side, width=wanted.side, seed=seed,
                num_inference_steps=pipeline.sampling.num_inference_steps, guidance_scale=guidance,
            )  # fmt: skip
            shape = pipeline.vae.compression.latent(request.shape, pipeline.vae.channels).as_tuple()
            key = Key(7, int(np.prod(shape)))
            bits = torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], BITS)).float()
            noise, frames = marked(pipeline, request, key, bits)
            for name, change in SEEN.items():
                back = inverted(pipeline, change(frames))
                alike = float(torch.corrcoef(torch.stack([noise.flatten(), back.flatten()]))[0, 1])
                told[guidance, name].append((alike, float((key.read(back) == bits).float().mean())))
    size = f"{wanted.frames}x{wanted.side}x{wanted.side}"
    print(f"{size}: {BITS} bits in {int(np.prod(shape))} values, {len(PROMPTS)} videos")
    print("| guidance | seen | correlation with the noise | right bits | whole numbers |")
    print("|---|---|---|---|---|")
    for (guidance, name), found in told.items():
        alike, right = (np.array(column) for column in zip(*found, strict=True))
        print(
            f"| {guidance:g} | {name} | {alike.mean():.2f} | {right.mean():.3f} | {(right == 1).sum()}/{len(right)} |"
        )


if __name__ == "__main__":
    main()
