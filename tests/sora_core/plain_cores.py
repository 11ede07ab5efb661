"""CPU seconds of a training step, an encode and the shot network, at `auto` and in float32; a line of JSON.

Run by `test_precision` in a process whose 16-bit units are masked.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from jobs.curate.config import CurateConfig
from jobs.curate.measure.transnet import TransNet
from jobs.curate.settle import settled
from jobs.launch import load_config
from jobs.train.agree import agreed
from jobs.train.config import TrainConfig
from jobs.train.rate import trial
from sora_core import precision
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import Whitening

CPU = torch.device("cpu")
CHANNELS, TEXT_DIM = 16, 64
TIMES = 3


def training_step(config: TrainConfig) -> Callable[[], object]:
    """Steps of the shipped config's model."""
    whitening = Whitening((0.0,) * CHANNELS, (1.0,) * CHANNELS)
    return trial(config, config.model.dit(CHANNELS, TEXT_DIM, whitening.variances()), whitening)


def encode(config: CurateConfig) -> Callable[[], object]:
    vae = VideoAutoencoder.load(dtype=precision.dtype_of(config.encodes_in))
    clip = torch.rand(1, 3, 9, 64, 64) * 2 - 1
    return lambda: vae.encode(clip)


def find_shots(config: CurateConfig) -> Callable[[], object]:
    network = TransNet(precision.dtype_of(config.models.finds_shots_in))
    frames = np.random.default_rng(0).integers(0, 255, (12, 27, 48, 3), np.uint8)
    return lambda: network(frames)


def cpu_s(auto: Callable[[], object], exact: Callable[[], object]) -> tuple[float, float]:
    """The least of several runs of each, by turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(TIMES + 1):
        for work, times in zip((auto, exact), seconds, strict=True):
            start = time.process_time()
            work()
            if number:  # the first one loads
                times.append(time.process_time() - start)
    return min(seconds[0]), min(seconds[1])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = [f"output={folder}", "data=nowhere", "packs_per_step=1"]
        train = load_config("train", TrainConfig, ["--set", *places])
        curate = load_config("curate", CurateConfig, ["--set", "source=nowhere", f"output={folder}/curated"])
        trained, curated = agreed(train, None, CPU), settled(curate)
    exact = curate.model_copy(
        update={"vae_dtype": "float32", "models": curate.models.model_copy(update={"transitions_dtype": "float32"})}
    )
    told = {
        "fast": precision.fast("cpu"),
        "slowdown": precision.slowdown(precision.REDUCED, "cpu"),
        "settled": {"train": trained.precision, "encode": curated.vae_dtype, "shots": curated.models.transitions_dtype},
        "cpu_s": {
            "train": cpu_s(training_step(trained), training_step(train.model_copy(update={"precision": "float32"}))),
            "encode": cpu_s(encode(curated), encode(exact)),
            "shots": cpu_s(find_shots(curated), find_shots(exact)),
        },
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
