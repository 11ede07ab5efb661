"""The loops of one replica, each on a thread: a sampler, a decoder, or both around one model."""

import logging
import os
import socket
import threading
import uuid
from typing import Protocol, Self

from services.video.config import ServiceConfig
from services.video.housekeeping import Housekeeper
from services.video.ledger import Ledger
from services.video.workers.decoder import Decoder
from services.video.workers.device import Device
from services.video.workers.sampler import Sampler
from sora_core import checkpoint
from sora_core.pipeline import FrameDecoder, Pipeline, calibration
from sora_core.vae import Tiling

log = logging.getLogger(__name__)


class Worker(Protocol):
    """A loop that works off the ledger until it is told to stop."""

    def run(self) -> None: ...

    def stop(self) -> None: ...

    def retire(self) -> None: ...

    @property
    def ailing(self) -> str | None: ...


def worker_name(work: str) -> str:
    """A name that no other worker has, and that says what it does and where to look."""
    return f"{work}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class Crew:
    """Workers of one process, together from `start` to `stop`."""

    def __init__(self, workers: dict[str, Worker]) -> None:
        self._workers = workers
        self._threads: list[threading.Thread] = []

    @classmethod
    def sampling(cls, config: ServiceConfig, pipeline: Pipeline, ledger: Ledger, device: Device | None = None) -> Self:
        """A sampler, and beside it a decoder that shares its model unless there are decoders of their own; ``device``
        is one that other crews share.

        CheckpointError when the feature cache is on and the model was never calibrated for it.
        """
        threshold, device = cache_threshold(config), device or Device(pipeline.device)
        name, keeper = worker_name("sampler"), Housekeeper(config, ledger)
        if config.decoder.replicas:
            sampler = Sampler(config, pipeline, ledger, name, device, cache_threshold=threshold)
            return cls({"sampler": sampler, "housekeeper": keeper})
        frames = FrameDecoder(pipeline.name, pipeline.vae, pipeline.whitening, pipeline.device, tiling(config))
        decoder = Decoder(config, frames, ledger, worker_name("decoder"), device)
        sampler = Sampler(config, pipeline, ledger, name, device, handed_over=decoder.wake, cache_threshold=threshold)
        return cls({"sampler": sampler, "decoder": decoder, "housekeeper": keeper})

    @classmethod
    def decoding(cls, config: ServiceConfig, frames: FrameDecoder, ledger: Ledger) -> Self:
        """A decoder alone."""
        decoder = Decoder(config, frames, ledger, worker_name("decoder"), Device(config.decoder.device))
        return cls({"decoder": decoder, "housekeeper": Housekeeper(config, ledger)})

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=_run, args=(worker, name), name=name, daemon=True)
            for name, worker in self._workers.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Whether every loop has ended."""
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def ills(self) -> list[str]:
        """What is wrong: loops that have ended, that hang, or in which everything fails."""
        dead = [f"the loop of the {thread.name} ended" for thread in self._threads if not thread.is_alive()]
        ailing = [f"{name}: {worker.ailing}" for name, worker in self._workers.items() if worker.ailing]
        return dead + ailing

    def stop(self) -> None:
        """End every loop: samplers first, so that a decoder beside them still hears of what they finish."""
        for worker in self._workers.values():
            worker.stop()
        for thread in self._threads:
            thread.join()

    def retire(self) -> None:
        """Take no further job; the loops end when those at hand are done, a decoder's after the sampler's."""
        threading.Thread(target=self._retire_in_turn, name="retiring", daemon=True).start()

    def _retire_in_turn(self) -> None:
        for worker, thread in zip(self._workers.values(), self._threads, strict=True):
            worker.retire()
            thread.join()


def _run(worker: Worker, name: str) -> None:
    try:
        worker.run()
    except Exception:
        log.exception("the loop of the %s ended", name)


def tiling(config: ServiceConfig) -> Tiling:
    """How the config cuts big frames; neighbours share a quarter of a tile."""
    return Tiling(config.decoder.tile, config.decoder.tile // 4)


def cache_threshold(config: ServiceConfig) -> float:
    """The threshold that the checkpoint's calibration chose, 0 while the cache is off; CheckpointError without one."""
    if not config.sampler.feature_cache:
        return 0.0
    return calibration.stored(checkpoint.resolve(config.checkpoint)).threshold
