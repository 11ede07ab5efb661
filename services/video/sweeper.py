"""Finds files that no row names: of requests and workers that died between storing a file and saying so."""

import itertools
import logging
import time
from collections.abc import Iterator

from services.video.config import ServiceConfig
from services.video.job import born_at
from services.video.ledger import Ledger
from services.video.stored import below, leave_only, results_of
from sora_core import storage, telemetry

log = logging.getLogger(__name__)

_AT_ONCE = 200
_HERE_S = 600.0


class Sweeper:
    """Removes orphans older than ``sweep_after_s``; younger ones may belong to a request under way."""

    def __init__(self, config: ServiceConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._here_after = 0.0

    def sweep_here(self) -> None:
        """Remove folders of killed processes from this host's temporary folder, now and then."""
        if time.monotonic() >= self._here_after:
            self._here_after = time.monotonic() + _HERE_S
            self._report(storage.sweep_scratch(), "temporary folders of killed processes")

    def sweep(self) -> None:
        """Remove from the output what belongs to no job and no character. LedgerUnavailable, StorageError while these
        are away."""
        old = self._ledger.now() - self._config.sweep_after_s
        videos, characters = (storage.join(self._config.output, name) for name in ("videos", "characters"))
        for ids in _batches(one for one in _ids_below(videos) if born_at(one) < old):
            rows = {job.id: job for job in self._ledger.rows(ids)}
            for job_id in ids:
                job, place = rows.get(job_id), storage.join(videos, job_id)
                if job is None or not job.is_open:
                    self._report(leave_only(place, results_of(job) if job else set()), f"files of {job_id}")
                if job is None:
                    storage.delete_prefix(place)
        for ids in _batches(one for one in _ids_below(characters) if born_at(one) < old):
            known = self._ledger.cast.known_characters(ids)
            for character_id in ids:
                if character_id not in known:
                    self._report(len(below(storage.join(characters, character_id))), f"files of {character_id}")
                    storage.delete_prefix(storage.join(characters, character_id))

    def _report(self, count: int, what: str) -> None:
        if count:
            log.warning("swept %d %s", count, what)
            telemetry.VIDEO_SWEPT.inc(count)


def _ids_below(folder: str) -> Iterator[str]:
    """The folders in a folder, which are named as what they belong to."""
    names = (uri.removeprefix(folder).lstrip("/").partition("/")[0] for uri in below(folder))
    return (name for name, _ in itertools.groupby(names))


def _batches(ids: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(itertools.islice(ids, _AT_ONCE)):
        yield batch
