"""A sampler and its decoder as a process of its own: ``python -m tests.services.worker_process CONFIG.json``.

A file ``die-in-window`` beside the config kills it, by SIGKILL, as soon as latents of that window of a job are saved.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from services.video.config import ServiceConfig
from services.video.job import Lease
from services.video.ledger import Ledger
from services.video.workers.crew import Crew
from sora_core.pipeline import Pipeline


class FatalLedger(Ledger):
    """Its process dies after the save that the file names."""

    order: Path

    def save(self, lease: Lease, saved: str) -> bool:
        done = super().save(lease, saved)
        job = self.get(lease.job_id)
        if self.order.exists() and job is not None and job.window == int(self.order.read_text()):
            self.order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def main(config_file: str) -> None:
    torch.set_num_threads(1)
    config = ServiceConfig.model_validate_json(Path(config_file).read_text())
    ledger = FatalLedger.open(config.ledger)
    ledger.order = Path(config_file).with_name("die-in-window")
    crew = Crew.sampling(config, Pipeline.load(config.checkpoint, "cpu"), ledger)
    crew.start()
    signal.sigwait({signal.SIGTERM})
    crew.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(*sys.argv[1:])
