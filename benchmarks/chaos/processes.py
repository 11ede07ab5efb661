"""The processes of the chaos run: samplers, decoders and API replicas, each one fork of a server that has everything
imported, so that a killed one is back at once. Some of the ledger's answers get lost."""

import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from typing import Any

import torch
import uvicorn

from services.video.api import create_app
from services.video.config import ServiceConfig
from services.video.ledger import Ledger
from services.video.ledger.roster import Roster
from services.video.ledger.tables import LedgerUnavailable
from services.video.workers.card import model_card
from services.video.workers.crew import Crew, tiling
from sora_core.errors import SoraError
from sora_core.pipeline import FrameDecoder, Pipeline

WRITES = (
    "create", "claim", "renew", "save", "hand_over", "advance", "finish", "fail", "release", "tidied", "purge",
    "cancel", "delete", "reclaim",
)  # fmt: skip


def forget(part: Ledger | Roster, names: Sequence[str], share: float, dice: random.Random) -> None:
    """From now on it commits and, for this share of these writes, says that it didn't answer."""

    def losing(name: str) -> Callable[..., Any]:
        write = getattr(part, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            value = write(*args, **kwargs)
            if dice.random() < share:
                raise LedgerUnavailable(f"{name}: the answer got lost, as ordered")
            return value

        return call

    for name in names:
        setattr(part, name, losing(name))


def work(role: str, config: ServiceConfig, port: int, lost_share: float, scratch: str) -> None:
    """One process, until SIGTERM; one that can't start, in an outage, ends, to be started again."""
    logging.disable(logging.CRITICAL)
    try:
        _work(role, config, port, lost_share, scratch)
    except SoraError as error:
        sys.exit(f"a {role} can't start: {str(error)[:100]}")


def _work(role: str, config: ServiceConfig, port: int, lost_share: float, scratch: str) -> None:
    torch.set_num_threads(1)
    tempfile.tempdir = scratch
    ledger, dice = Ledger.open(config.ledger), random.Random(os.getpid())
    forget(ledger, WRITES, lost_share, dice)
    forget(ledger.roster, ("take_turn",), lost_share, dice)
    if role == "api":
        uvicorn.run(create_app(config, ledger), host="127.0.0.1", port=port, log_level="critical", ws="none")
        return
    if role == "sampler":
        pipeline = Pipeline.load(config.checkpoint, "cpu")
        card = model_card(pipeline, config)
        ledger.roster.publish_model(card.id, card.model_dump(mode="json"))
        crew = Crew.sampling(config, pipeline, ledger)
    else:
        crew = Crew.decoding(config, FrameDecoder.load(config.checkpoint, "cpu", tiling(config)), ledger)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    crew.start()
    signal.sigwait({signal.SIGTERM})
    crew.stop()
    os._exit(0)


class Fleet:
    """The processes by name, started again when they die."""

    def __init__(self, config: ServiceConfig, roles: list[tuple[str, int]], lost_share: float, scratch: str) -> None:
        self._start = multiprocessing.get_context("forkserver")
        self._start.set_forkserver_preload(["benchmarks.chaos.world"])  # all that a main module imports
        self._config, self._lost_share, self._scratch = config, lost_share, scratch
        self.roles = roles
        self.running: list[ForkServerProcess] = [self._new(number) for number in range(len(roles))]

    def _new(self, number: int) -> ForkServerProcess:
        role, port = self.roles[number]
        arguments = (role, self._config, port, self._lost_share, self._scratch)
        process = self._start.Process(target=work, args=arguments, daemon=True)
        process.start()
        return process

    def kill(self, number: int) -> None:
        """SIGKILL one, and start it again."""
        process = self.running[number]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        self.running[number] = self._new(number)

    def revive(self) -> int:
        """Start again what has ended by itself, as Serve does; how many."""
        ended = [number for number, process in enumerate(self.running) if not process.is_alive()]
        for number in ended:
            self.running[number] = self._new(number)
        return len(ended)

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.join(30)
            if process.is_alive():
                process.kill()
                process.join()
