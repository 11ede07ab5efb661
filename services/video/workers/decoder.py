"""The second half of the work: latents from storage to stored files, one job at a time.

A decoder takes its jobs from the ledger, in a sampler's process or in replicas of its own; one that dies leaves its job
to the next.
"""

import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

from services.video.config import ServiceConfig
from services.video.files import window_file
from services.video.job import SAMPLED_PERCENT, Job, Stage
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from services.video.provenance.seals import Seals
from services.video.workers import latents
from services.video.workers.failures import Failure
from services.video.workers.films import OpenFilm
from services.video.workers.housekeeping import Housekeeper, tidy
from services.video.workers.leases import Holdings
from services.video.workers.outcomes import Outcomes
from services.video.workers.patience import Patience
from services.video.workers.phases import observe_phase
from services.video.workers.render import Renderer
from sora_core import media, storage
from sora_core.errors import StorageError, StorageUnavailable
from sora_core.pipeline import FrameDecoder

log = logging.getLogger(__name__)

_CLAIMABLE = 8  # jobs looked at when several decoders reach for the first one
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._frames = frames
        self._ledger = ledger
        self._worker = worker
        self._clock = clock
        self._stop = threading.Event()
        self._work = threading.Event()
        self._lease_s = config.sampler.lease_s
        self._holdings = Holdings(ledger, self._lease_s)
        patience = Patience(config.sampler.outage_patience_s, self._stop)
        self._patience = patience
        self._renderer = Renderer(config.output, patience, Seals.load(config, ledger), crf=config.decoder.crf)
        self._outcomes = Outcomes(ledger, self._holdings, patience, clock)
        self._housekeeper = Housekeeper(config, ledger)

    def run(self) -> None:
        """Work until `stop`; the job at hand is finished first."""
        self._holdings.start()
        try:
            while not self._stop.is_set():
                self._housekeeper.tend()
                if not self.tick():
                    self._work.wait(self._config.sampler.idle_poll_s)
                    self._work.clear()
        finally:
            self._holdings.stop()

    def wake(self) -> None:
        """Look for work now; callable from any thread."""
        self._work.set()

    def stop(self) -> None:
        """Ask the loop to end; callable from any thread, more than once."""
        self._stop.set()
        self._work.set()

    def tick(self) -> bool:
        """Decode one job. Whether there was one."""
        job = self._claim()
        if job is not None:
            self._decode(job)
        return job is not None

    def _claim(self) -> Job | None:
        try:
            waiting = self._ledger.waiting(self._frames.name, stage=Stage.DECODE, limit_per_owner=_CLAIMABLE)
            won = self._ledger.claim(
                [job.id for job in waiting], self._worker, self._lease_s, stage=Stage.DECODE, most=1
            )
        except LedgerUnavailable as error:
            log.warning("nothing to decode: %s", error)
            return None
        if not won:
            return None
        self._holdings.add(won[0].lease, won[0].progress)
        return won[0]

    def _decode(self, job: Job) -> None:
        began = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(prefix="sora-") as folder:
                self._work_off(job, Path(folder))
        except Dropped:
            ended = self._outcomes.drop(job)
            self._discard(job)
        except Exception as error:
            if self._stop.is_set() and isinstance(error, StorageUnavailable | LedgerUnavailable):
                self._outcomes.give_back(job)
                return
            log.exception("%s can't be decoded", job.id)
            ended = self._outcomes.fail(job, Failure.of(error))
        else:
            ended = job.window + 1 == job.num_windows
            observe_phase("decode", job, time.perf_counter() - began)
        if ended:  # else another has it, and needs its files
            tidy(self._ledger, self._config.output, job)

    def _work_off(self, job: Job, folder: Path) -> None:
        """Store what the job's latents are: its files, or a window of its film. Dropped when it isn't wanted."""
        assert job.saved is not None, f"{job.id} came without latents"
        saved = job.saved
        latent = self._patience.call(lambda: latents.read(saved))["latent"]
        film = self._patience.call(lambda: OpenFilm.of(job, folder, to_assemble=True))
        watch = _Watch(self._holdings, job)
        if film is None:
            self._finish(job, itertools.chain.from_iterable(self._frames.stream(latent)), None, watch)
            return
        window = film.settled(self._decoded(latent, watch))
        if film.is_last and film.is_last_stage:
            self._finish(job, film.assembled(window), film.sound, watch)
        else:
            self._advance(job, film.assembled(window) if film.is_last else window, folder)
            latents.discard(saved)

    def _decoded(self, latent: Float[Tensor, "c t h w"], watch: "_Watch") -> UInt8[np.ndarray, "t h w 3"]:
        chunks = []
        for chunk in self._frames.stream(latent):
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
        self._renderer.discard_earlier(job)

    def _advance(self, job: Job, made: Iterable[UInt8[np.ndarray, "h w 3"]], folder: Path) -> None:
        """Store what further windows build on, a window or a whole film, and leave the job to the samplers."""
        path, uri = folder / "made", window_file(self._config.output, job)
        media.write_film(path, made)
        self._patience.call(lambda: storage.upload(path, uri))
        if not self._patience.call(lambda: self._ledger.advance(job.lease, [*(job.made or ()), uri])):
            raise Dropped
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
        if time.monotonic() - self._asked > _RENEW_S:
            self._asked = time.monotonic()
            revoked = self._holdings.renew()
            if lease in revoked.cancelled | revoked.lost:
                raise Dropped
