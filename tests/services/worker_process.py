"""A sampler or a decoder as a process of its own: ``python -m tests.services.worker_process sampling CONFIG.json``."""

import signal
import sys
from pathlib import Path

import torch

from services.video.config import ServiceConfig
from services.video.ledger import Ledger
from services.video.workers.card import model_card
from services.video.workers.crew import Crew, tiling
from sora_core.pipeline import FrameDecoder, Pipeline


def main(work: str, config_file: str) -> None:
    torch.set_num_threads(1)
    config = ServiceConfig.model_validate_json(Path(config_file).read_text())
    ledger = Ledger.open(config.ledger)
    if work == "sampling":
        pipeline = Pipeline.load(config.checkpoint, "cpu")
        card = model_card(pipeline, config)
        ledger.publish_model(card.id, card.model_dump(mode="json"))
        crew = Crew.sampling(config, pipeline, ledger)
    else:
        crew = Crew.decoding(config, FrameDecoder.load(config.checkpoint, "cpu", tiling(config)), ledger)
    crew.start()
    signal.sigwait({signal.SIGTERM})
    crew.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(*sys.argv[1:])
