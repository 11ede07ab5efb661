"""A part's latents and ledger rows to storage, in the order that makes an interruption harmless."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from jobs.curate import ledger
from jobs.curate.latents import LatentEncoder
from jobs.curate.rows import Clip, Examined
from sora_core import shards, telemetry
from sora_core.shards import Row, Shard

# Latents gathered before they are written, so that a part of any size fits in memory.
_SHARD_BYTES = 128 << 20


def commit(examined: Sequence[Examined], encoder: LatentEncoder, output: str) -> list[Examined]:
    """Encode what is kept and write the part; the rows as they stand in the ledger come back."""
    name = ledger.part_name(row.source.key for row in examined)
    failures: dict[str, str] = {}
    written: list[Shard] = []
    for rows in _by_bytes(encoder.rows(examined, failures)):
        written.append(shards.write_shard(rows, output, ledger.shard_path(name, len(written))))
    final = [replace(row, clips=[_with_failure(clip, failures) for clip in row.clips]) for row in examined]
    ledger.write_part(final, written, output)
    count(final)
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


def count(examined: Sequence[Examined]) -> None:
    """Tell the metrics what was decided."""
    for row in examined:
        telemetry.CURATE_SOURCES.inc(1, {"status": ledger.source_verdict(row)[0]})
        for clip in row.clips:
            telemetry.CURATE_CLIPS.inc(1, {"status": clip.status, "reason": clip.reason or ""})
