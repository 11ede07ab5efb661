"""What the small model of `benchmarks.gpu` learns from, in one file: latents and text states of clips.

``python -m benchmarks.gpu.inputs --out inputs.safetensors --clips 1000`` renders clips of the controlled world, reads
the first seconds of the shipped footage, and encodes both with the default autoencoder and text encoder. The GPU's
machine then needs neither, nor anything that decodes video.
"""

import argparse
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from sora_core.errors import SoraError
from sora_core.media import decode_clip
from sora_core.pipeline.frames import fit_frames, to_video
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import WhiteningStatistics
from sora_core.world.render import render
from sora_core.world.scene import Mix
from sora_core.world.words import caption, sample

FOOTAGE = Path(__file__).parents[2] / "examples" / "footage"
MOST_BYTES = 40_000_000
FRAMES, SIDE = 17, 64


def world(count: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Clips of the controlled world with their captions, by number."""
    mix = Mix.parse({f"{SIDE}x{SIDE}": 1.0}, {1: 1.0, 9: 1.0, FRAMES: 2.0}, {1: 2.0, 2: 1.0, 3: 1.0})
    for number in range(count):
        scene = sample(mix, number)
        yield render(scene), caption(scene.attributes)


def footage() -> Iterator[tuple[NDArray[np.uint8], str]]:
    """The first frames of the shipped clips, small; what can't be decoded here is left out."""
    captions = {row[0]: row[-1] for row in csv.reader((FOOTAGE / "captions.csv").open())}
    for path in sorted(FOOTAGE.iterdir()):
        if path.name not in captions:
            continue
        try:
            frames = decode_clip(path, 0, 2.0, fps=8)
        except SoraError:
            continue
        kept = (min(len(frames), FRAMES) - 1) // 4 * 4 + 1
        yield fit_frames(frames[:kept], SIDE, SIDE), captions[path.name]


def write(out: Path, count: int) -> int:
    """Encode and write; the bytes. SystemExit when they would be too many to carry."""
    vae, text_encoder = VideoAutoencoder.load(), TextEncoder.load()
    held: dict[str, Tensor] = {}
    statistics, number = WhiteningStatistics(), 0
    for frames, said in itertools.chain(world(count), footage()):
        posterior = vae.encode(to_video(frames)[None])
        statistics.update(posterior.mean[0])
        held |= {f"{number}.mean": posterior.mean[0].half(), f"{number}.std": posterior.std[0].half()}
        held[f"{number}.text"] = text_encoder.encode([said])[0].half()
        number += 1
    whitening = statistics.result()
    held |= {"count": torch.tensor(number), "null_text": text_encoder.encode([""])[0].half()}
    held |= {"mean": torch.tensor(whitening.mean), "std": torch.tensor(whitening.std)}
    size = sum(value.nbytes for value in held.values())
    if size > MOST_BYTES:
        raise SystemExit(f"{size} bytes: {MOST_BYTES} are the most that is carried; give fewer --clips than {count}")
    save_file({name: value.contiguous() for name, value in held.items()}, out)
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1000)
    asked = parser.parse_args()
    print(f"{asked.out}: {write(asked.out, asked.clips)} bytes")
