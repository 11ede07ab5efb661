"""A part's latents and ledger rows to storage, in the order that makes an interruption harmless."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Protocol

from jobs.curate.books import ledger, reuse
from jobs.curate.books.reuse import Found, Wanted
from jobs.curate.books.stored import Stored, store
from jobs.curate.rows import Clip, Examined, short_hash
from jobs.curate.stages.latents import Maker
from sora_core import telemetry
from sora_core.shards import Row

# Latents gathered before they are written, so that a part of any size fits in memory.
_SHARD_BYTES = 128 << 20
# The verdict of a clip that passes and has no latents yet: measured alone, or after a change of thresholds.
AWAITS = "awaits_encoding"


class Encodes(Protocol):
    """Whoever makes latents of what is kept."""

    @property
    def maker(self) -> Maker:
        """What the columns of a row are."""

    def rows(self, examined: Sequence[Examined], failures: dict[str, str]) -> Iterator[Row]:
        """A row for each kept clip; reasons of those that fail go to ``failures`` by clip id."""


def commit(examined: Sequence[Examined], encoder: Encodes, output: str) -> list[Examined]:
    """Encode what is kept and has no latents yet, write the part, and return its rows as they stand in the ledger."""
    wanted = _wanted(examined)
    found = reuse.find(_previous(examined), wanted, encoder.maker, output)
    missing = [
        replace(row, clips=[clip for clip in row.clips if clip.clip_id not in found.clip_ids]) for row in examined
    ]
    failures: dict[str, str] = {}
    rows = chain(reuse.carried(found, wanted, encoder.maker, output), encoder.rows(missing, failures))
    return _write(examined, found, rows, failures, output)


def commit_judged(examined: Sequence[Examined], maker: Maker, output: str) -> list[Examined]:
    """Write the part with the latents that there are. Kept clips without any wait for the next run, as dropped ones:
    their objects' keys say so."""
    wanted = _wanted(examined)
    found = reuse.find(_previous(examined), wanted, maker, output)
    waiting = wanted.keys() - found.clip_ids
    final = [_waiting(row, waiting) for row in examined]
    return _write(final, found, reuse.carried(found, wanted, maker, output), {}, output)


def commit_measured(examined: Sequence[Examined], output: str) -> None:
    """Write a part that was measured and nothing else. What passes waits until it was compared with all the rest."""
    wanted = set(_wanted(examined))
    ledger.write_part([_waiting(row, wanted) for row in examined], [], output)


def _waiting(row: Examined, waiting: set[str]) -> Examined:
    if not any(clip.clip_id in waiting for clip in row.clips):
        return row
    clips = [replace(clip, status="dropped", reason=AWAITS) if clip.clip_id in waiting else clip for clip in row.clips]
    return replace(row, clips=clips, source=replace(row.source, key=short_hash(row.source.key, AWAITS)))


def _wanted(examined: Sequence[Examined]) -> Wanted:
    return {clip.clip_id: (row.source, clip) for row in examined for clip in row.clips if clip.status == "kept"}


def _previous(examined: Sequence[Examined]) -> list[str]:
    return sorted({row.source.previous for row in examined if row.source.previous})


def _write(
    examined: Sequence[Examined], found: Found, rows: Iterator[Row], failures: dict[str, str], output: str
) -> list[Examined]:
    """Latents first, the ledger last. ``failures`` fills while ``rows`` are drawn."""
    name = ledger.part_name(row.source.key for row in examined)
    written: list[Stored] = list(found.whole)
    started = time.monotonic()
    paths = ledger.shard_paths(name)
    for batch in _by_bytes(rows):
        written.append(store(batch, output, next(paths), started))
        started = time.monotonic()
    final = [replace(row, clips=[_with_failure(clip, failures) for clip in row.clips]) for row in examined]
    ledger.write_part(final, written, output)
    tell(final)
    return final


def _by_bytes(rows: Iterator[Row]) -> Iterator[list[Row]]:
    gathered: list[Row] = []
    size = 0
    for row in rows:
        gathered.append(row)
        size += row.latent_mean.nbytes + row.latent_std.nbytes + row.text.nbytes
        if size > _SHARD_BYTES:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


def _with_failure(clip: Clip, failures: dict[str, str]) -> Clip:
    reason = failures.get(clip.clip_id)
    return clip if reason is None else replace(clip, status="failed", reason=reason)


def tell(examined: Sequence[Examined]) -> None:
    """Tell the metrics what was decided."""
    for row in examined:
        telemetry.CURATE_SOURCES.inc(1, {"status": ledger.source_verdict(row)[0]})
        for clip in row.clips:
            telemetry.CURATE_CLIPS.inc(1, {"status": clip.status, "reason": clip.reason or ""})
