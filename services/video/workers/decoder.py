"""The second half of the work: latents from storage to stored files, one job at a time.

A decoder takes its jobs from the ledger, in a sampler's process or in replicas of its own; one that dies leaves its job
to the next.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

from services.video.config import ServiceConfig
from services.video.files import window_file
from services.video.housekeeping import tidy
from services.video.job import SAMPLED_PERCENT, Job, Stage
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.moderation.guard import Guard
from services.video.provenance.seals import Seals
from services.video.workers import latents
from services.video.workers.claims import Claims
from services.video.workers.device import Device
from services.video.workers.failures import is_out_of_memory
from services.video.workers.films import OpenFilm
from services.video.workers.health import Health
from services.video.workers.leases import Holdings
from services.video.workers.outcomes import Outcomes
from services.video.workers.patience import Patience
from services.video.workers.phases import observe_phase
from services.video.workers.rate import Rate
from services.video.workers.render import Renderer
from services.video.workers.turns import Turns
from sora_core import media, storage
from sora_core.errors import StorageError
from sora_core.pipeline import FrameDecoder
from sora_core.vae import Tiling

log = logging.getLogger(__name__)

_CLAIMABLE = 8  # jobs of an owner looked at when several decoders reach for the first one
_RENEW_S = 0.5


class Dropped(Exception):
    """The job isn't wanted any more."""


class Decoder:
    """Works off what samplers handed over. `tick` is one job; `run` repeats it until `stop`."""

    def __init__(
        self,
        config: ServiceConfig,
        frames: FrameDecoder,
        ledger: Ledger,
        worker: str,
        device: Device | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``device`` is one that a sampler shares."""
        settings = config.sampler
        self._config = config
        self._frames = frames
        self._ledger = ledger
        self._worker = worker
        self._device = device or Device(config.decoder.device)
        self._stop = threading.Event()
        self._work = threading.Event()
        self._lease_s = settings.lease_s
        self._holdings = Holdings(ledger, self._lease_s, settings.stall_s)
        self._health = Health()
        patience = Patience(settings.outage_patience_s, self._stop, self._holdings.moved)
        self._patience = patience
        seals, guard = Seals.load(config, ledger), Guard.of(config.moderation, ledger, reads=False)
        self._renderer = Renderer(config.output, patience, seals, guard, crf=config.decoder.crf)
        self._claims = Claims(ledger, self._holdings, worker, self._lease_s, Stage.DECODE)
        self._outcomes = Outcomes(
            ledger, self._holdings, patience, self._claims, self._health, settings.max_attempts, clock or ledger.now
        )
        self._rate = Rate(ledger, worker, frames.name, self._lease_s, Stage.DECODE)
        self._turns = Turns()
        self._retired = False

    def run(self) -> None:
        """Work until `stop`; the job at hand is finished first."""
        self._holdings.start()
        try:
            while not self._stop.is_set():
                self._rate.tell()
                self._stop.wait(self._health.pause_s)
                if not self.tick():
                    if self._retired:
                        break
                    self._work.wait(self._config.sampler.idle_poll_s)
                    self._work.clear()
            self._rate.retire()
        finally:
            self._holdings.stop()

    def wake(self) -> None:
        """Look for work now; callable from any thread."""
        self._work.set()

    def stop(self) -> None:
        """Ask the loop to end; callable from any thread, more than once."""
        self._stop.set()
        self._work.set()

    def retire(self) -> None:
        """End when nothing waits to be decoded; callable from any thread."""
        self._retired = True
        self._work.set()

    @property
    def ailing(self) -> str | None:
        """What keeps it from working, or None."""
        return self._health.ailing or self._holdings.stalled

    def tick(self) -> bool:
        """Decode what was claimed, a job as a rule. Whether there was one."""
        jobs = self._claim()
        for job in jobs:
            self._decode(job)
        return bool(jobs)

    def _claim(self) -> list[Job]:
        """The job whose turn it is: of the owner for whom least was decoded here, the first in the owner's queue."""
        try:
            waiting = self._ledger.waiting(self._frames.name, stage=Stage.DECODE, limit_per_owner=_CLAIMABLE)
            for ids in self._turns.order(self._health.trusted(waiting)):
                won = self._claims.take(ids, most=1)
                if won:
                    self._turns.served(won)
                    return won
            return self._claims.take([])
        except LedgerUnavailable as error:
            log.warning("nothing to decode: %s", error)
            return []

    def _decode(self, job: Job) -> None:
        began = time.perf_counter()
        try:
            self._decode_in_memory(job)
        except Dropped:
            ended = self._outcomes.drop(job)
            self._discard(job)
        except latents.LatentsLost as error:
            ended = False
            self._sample_again(job, error)
        except Exception as error:
            log.exception("%s can't be decoded", job.id)
            if not is_out_of_memory(error):
                self._device.check(error)
            ended = self._outcomes.went_wrong(job, error)
        else:
            ended = job.window + 1 >= job.num_windows
            elapsed_s = time.perf_counter() - began
            observe_phase("decode", job, elapsed_s)
            if job.tokens:
                self._rate.did(job.tokens, elapsed_s)
        if ended:  # else another has it, and needs its files
            tidy(self._ledger, self._config.output, job.id)

    def _decode_in_memory(self, job: Job) -> None:
        """Where memory is short, in smaller tiles, and in the end with the device for itself."""
        *larger, smallest = self._frames.tilings()
        tries = [*((tiling, False) for tiling in larger), (smallest, False), (smallest, True)]
        for number, (tiling, alone) in enumerate(tries, 1):
            try:
                with storage.scratch() as folder, self._device.alone() if alone else nullcontext():
                    self._work_off(job, folder, tiling)
                return
            except Exception as error:
                if not is_out_of_memory(error) or number == len(tries):
                    raise
                log.warning("%s: out of memory in tiles of %s", job.id, tiling and tiling.side)

    def _work_off(self, job: Job, folder: Path, tiling: Tiling | None) -> None:
        """Store what the job's latents are: its files, or a window of its film. Dropped when it isn't wanted."""
        watch = _Watch(self._holdings, job)
        film = self._patience.call(lambda: OpenFilm.of(job, folder, to_assemble=True))
        if film is not None and not film.plan.windows:
            self._finish(job, film.assembled(), film.sound, watch)
            return
        assert job.saved is not None, f"{job.id} came without latents"
        saved = job.saved
        latent = self._patience.call(lambda: latents.read(saved, self._frames.origin))["latent"]
        if film is None:
            self._finish(job, itertools.chain.from_iterable(self._frames.stream(latent, tiling)), None, watch)
            return
        window = film.settled(self._decoded(latent, watch, tiling))
        if film.is_last and film.is_last_stage:
            self._finish(job, film.assembled(window), film.sound, watch)
        else:
            self._advance(job, film.assembled(window) if film.is_last else window, folder)
            latents.discard(saved)

    def _decoded(
        self, latent: Float[Tensor, "c t h w"], watch: "_Watch", tiling: Tiling | None
    ) -> UInt8[np.ndarray, "t h w 3"]:
        chunks = []
        for chunk in self._frames.stream(latent, tiling):
            watch.check()
            chunks.append(chunk)
        return np.concatenate(chunks)

    def _finish(
        self,
        job: Job,
        frames: Iterable[UInt8[np.ndarray, "h w 3"]],
        sound: Int16[np.ndarray, "n 2"] | None,
        watch: "_Watch",
    ) -> None:
        result = self._renderer.render(job, frames, sound, watch)
        if not self._outcomes.complete(job, result, self._config.expire_after_s):
            raise Dropped

    def _advance(self, job: Job, made: Iterable[UInt8[np.ndarray, "h w 3"]], folder: Path) -> None:
        """Store what further windows build on, a window or a whole film, and leave the job to the samplers."""
        path, uri = folder / "made", window_file(self._config.output, job)
        media.write_film(path, made)
        self._patience.call(lambda: storage.upload(path, uri))
        if not self._patience.call(lambda: self._ledger.advance(job.lease, [*(job.made or ()), uri])):
            raise Dropped
        self._holdings.remove(job.lease)
        self._health.well()

    def _sample_again(self, job: Job, error: latents.LatentsLost) -> None:
        """Its latents are of no use here; what was accepted is made all the same."""
        log.warning("%s is sampled again: %s", job.id, error)
        try:
            self._ledger.sample_again(job.lease)
        except LedgerUnavailable as outage:
            log.warning("%s waits for its lease to run out: %s", job.id, outage)
            self._claims.doubt()
        self._holdings.remove(job.lease)

    def _discard(self, job: Job) -> None:
        try:
            self._renderer.discard(job)
        except StorageError as error:
            log.warning("files of %s stay behind: %s", job.id, error)


class _Watch:
    """Hears of every frame: reports it, and now and then asks whether the job is still wanted."""

    def __init__(self, holdings: Holdings, job: Job) -> None:
        self._holdings = holdings
        self._job = job
        self._asked = time.monotonic()

    def __call__(self, index: int) -> None:
        frames = self._job.params["num_frames"]
        self._holdings.report(self._job.lease, SAMPLED_PERCENT + (99 - SAMPLED_PERCENT) * (index + 1) // frames)
        self.check()

    def check(self) -> None:
        """Raise Dropped when the job isn't wanted any more."""
        lease = self._job.lease
        self._holdings.moved([lease])
        if time.monotonic() - self._asked > _RENEW_S:
            self._asked = time.monotonic()
            revoked = self._holdings.renew()
            if lease in revoked.cancelled | revoked.lost:
                raise Dropped
