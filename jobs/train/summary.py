"""What a checkpoint says about itself."""

import dataclasses
import subprocess
from pathlib import Path

from jobs.train.config import TrainConfig
from jobs.train.data import Dataset
from jobs.train.start import Start
from sora_core.checkpoint import ChannelStatistics, Meta
from sora_core.shards import Encoder


def describe(config: TrainConfig, dataset: Dataset, start: Start, base: Encoder | None) -> Meta:
    """The meta of a run before its first step."""
    manifest = dataset.manifest
    return Meta(
        step=0,
        dit=start.dit.to_dict(),
        vae=manifest.vae,
        text_encoder=manifest.text_encoder,
        whitening=ChannelStatistics(*dataclasses.astuple(start.whitening)),
        compression=manifest.compression,
        fps=dataset.usual_fps(),
        max_tokens=int(dataset.tokens(start.dit.patch).max()),
        given=tuple(sorted({*start.given, *(kind for kind, share in config.given.items() if share)})),
        shift=config.shift_law.shift,
        shift_tokens=config.shift_law.tokens,
        guidance_scale=config.guidance_scale or start.sampling.guidance_scale,
        solver=start.sampling.solver,
        num_inference_steps=start.sampling.num_inference_steps,
        base=base,
        git_revision=git_revision(),
        training=config.model_dump(mode="json"),
        data=dataset.summary(),
    )


def git_revision() -> str | None:
    """The commit of this code, None where it isn't a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
