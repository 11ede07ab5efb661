"""The model that the edits are measured with: the demo's sizes, trained on every kind of given latents.

``python -m benchmarks.edits.model`` trains what ``build/edits`` lacks, some 20 minutes of one core, and leaves a
checkpoint there as training does, with a copy now and then on the way.
"""

import argparse
import logging
import time
from itertools import chain
from pathlib import Path

import torch

from benchmarks.edits.footage import real, worlds
from benchmarks.scaling.clips import FPS, ClipSet, encoded
from benchmarks.scaling.judge import GUIDANCE
from benchmarks.scaling.runs import SHIFT, Recipe, dit_config, fresh, law_sigmas, make_trainer, steps, validate
from sora_core import checkpoint
from sora_core.checkpoint import ChannelStatistics, DataSummary, Meta
from sora_core.pipeline import Pipeline
from sora_core.shards import Encoder
from sora_core.text import TextEncoder
from sora_core.training.trainer import Trainer
from sora_core.vae import VideoAutoencoder

logger = logging.getLogger(__name__)

RUN = Path("build/edits/model")
WIDTH, LAYERS = 128, 4
STEPS = 2400
SAVE_EVERY = 300
WORLDS, REAL_PASSES = 2600, 3
GIVEN = {
    "first_frame": 0.06,
    "last_frame": 0.03,
    "both_ends": 0.04,
    "keyframes": 0.05,
    "prefix": 0.08,
    "suffix": 0.06,
    "around_the_middle": 0.06,
    "outside_a_box": 0.04,
    "outside_boxes": 0.06,
    "inside_a_box": 0.04,
    "reference": 0.8,
}
"""Shares of all clips; for a reference, of those that have another of their subject (`footage`)."""


def clips() -> ClipSet:
    """Scenes, and every real window several times; 24 other scenes for validation."""
    passes = (real(held_out=False, subjects=number == 0) for number in range(REAL_PASSES))
    return encoded("edits", chain(worlds(31, WORLDS), *passes), worlds(32, 24))


def load() -> Pipeline:
    """The newest checkpoint, ready to edit."""
    return Pipeline.load(str(RUN), "cpu")


def train() -> None:
    """Train to the end, from the start."""
    held = clips()
    trainer = make_trainer(fresh(dit_config(WIDTH, LAYERS, held), 0), held, Recipe(schedule_steps=STEPS, given=GIVEN))
    start = time.process_time()
    for planned in steps(trainer, held, Recipe(schedule_steps=STEPS, given=GIVEN)):
        if planned.step % SAVE_EVERY == 0:
            losses = validate(trainer, held.val, law_sigmas())
            seconds = time.process_time() - start
            logger.info("step %d: loss %.4f, %.0f CPU s", planned.step, sum(losses) / len(losses), seconds)
            save(trainer, held, planned.step)
        if planned.step == STEPS:
            return


def save(trainer: Trainer, held: ClipSet, step: int) -> None:
    """A checkpoint as training leaves it."""
    vae, text = VideoAutoencoder.load(), TextEncoder.load()
    config = trainer.dit.config
    meta = Meta(
        step=step,
        dit=config.to_dict(),
        vae=Encoder(vae.source, vae.fingerprint),
        text_encoder=Encoder(text.source, text.fingerprint),
        whitening=ChannelStatistics(held.whitening.mean, held.whitening.std),
        compression=vae.compression,
        fps=FPS,
        max_tokens=int(held.tokens(config.patch).max()),
        given=tuple(GIVEN),
        shift=SHIFT,
        guidance_scale=GUIDANCE,
        base=None,
        git_revision=None,
        training={"steps": STEPS, "given": GIVEN},
        data=DataSummary("benchmarks/edits/footage.py", len(held.train), 0.0, {}),
    )
    with trainer.ema.swapped_in():
        checkpoint.save_model(checkpoint.step_uri(str(RUN), step), trainer.dit.state_dict(), meta)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    if checkpoint.latest(str(RUN)) == checkpoint.step_uri(str(RUN), STEPS):
        logger.info("%s is there", RUN)
        return
    train()


if __name__ == "__main__":
    main()
