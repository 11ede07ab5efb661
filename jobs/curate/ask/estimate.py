"""``--dry-run``: what is to do, and what it will cost at the rate at which this output, or a few objects, were done."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.books.commit import commit
from jobs.curate.books.parts import Part
from jobs.curate.books.stored import together
from jobs.curate.config import CurateConfig
from jobs.curate.rows import Examined, Source
from jobs.curate.stages.examine import examine
from jobs.curate.stages.latents import LatentEncoder
from sora_core import storage

# Parts of the ledger that are looked at for the rates, and objects that are tried where there is none.
_LOOKED_AT = 64
_TRIED = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """What so many bytes of footage cost and give: seconds of examining, of kept clips and of encoding these, bytes of
    latents. ``objects`` were measured."""

    objects: int
    footage_bytes: int
    examine_s: float
    kept_s: float
    encode_s: float
    latent_bytes: int


def of_ledger(parts: Sequence[Part], output: str) -> Rates | None:
    """The rates of what was done before; None when nothing was."""
    objects, footage_bytes, examine_s = 0, 0, 0.0
    step = -(-len(parts) // _LOOKED_AT) or 1
    chosen = parts[::step]
    for part in chosen:
        table = ledger.read_table(ledger.part_uri(output, part.name), ["clip_id", "kind", "size_bytes", "seconds"])
        seen = table.filter(pc.and_(pc.is_null(table.column("clip_id")), pc.is_valid(table.column("kind"))))
        objects += seen.num_rows
        footage_bytes += pc.sum(seen.column("size_bytes")).as_py() or 0
        examine_s += pc.sum(seen.column("seconds")).as_py() or 0.0
    files = [file for part in chosen for file in part.stored]
    if not objects or not files:
        return None
    totals, _ = together(files)
    latent_bytes = sum(file.shard.size_bytes for file in files)
    return Rates(objects, footage_bytes, examine_s, totals.seconds, sum(file.seconds for file in files), latent_bytes)


def by_trial(sources: Sequence[Source], config: CurateConfig) -> Rates:
    """The rates of a few objects, spread over the plan, which are done here and then forgotten."""
    chosen = sources[:: -(-len(sources) // _TRIED) or 1]
    rows = [examine(source, config) for source in chosen]
    with storage.scratch() as folder:
        encoder = LatentEncoder(config, config.encoder_device)
        started = time.monotonic()
        final = commit([_with_words(row) for row in rows], encoder, str(folder))
        encode_s = time.monotonic() - started
        latent_bytes = sum(path.stat().st_size for path in folder.rglob("latents/*.parquet"))
    kept = [clip for row in final for clip in row.clips if clip.status == "kept"]
    return Rates(
        objects=len(chosen),
        footage_bytes=sum(source.size for source in chosen),
        examine_s=sum(row.examine_s for row in rows),
        kept_s=sum(clip.end_s - clip.start_s for clip in kept),
        encode_s=encode_s,
        latent_bytes=latent_bytes,
    )


def _with_words(row: Examined) -> Examined:
    """The clips that an endpoint would caption are encoded with the describer's words."""
    return replace(row, clips=[replace(clip, caption=clip.caption or clip.description) for clip in row.clips])


def lines(todo: Sequence[Source], again: Sequence[Source], rates: Rates | None, config: CurateConfig) -> Iterator[str]:
    """What a run would do, for people. ``todo`` nobody has looked at; of those to judge ``again`` only the clips that
    newly pass cost anything, which only `judge --dry-run` can tell."""
    size = sum(source.size for source in todo)
    yield f"curate: {len(todo)} objects to examine and encode ({size / 1e9:.3g} GB), {len(again)} to judge again"
    if rates is None or not rates.footage_bytes:
        return
    share = size / rates.footage_bytes
    examine_h, encode_h = share * rates.examine_s / 3600, share * rates.encode_s / 3600
    on_gpus = config.gpus_per_encoder > 0
    cpu_h = examine_h + (0 if on_gpus else encode_h)
    yield f"curate: at the rate of {rates.objects} objects ({rates.footage_bytes / 1e6:.3g} MB) that were measured:"
    yield f"  footage kept  {share * rates.kept_s / 3600:10.3g} h"
    yield f"  CPU           {cpu_h:10.3g} h (examining {examine_h:.3g} h on {config.num_examiners} processes)"
    yield f"  GPU           {encode_h if on_gpus else 0:10.3g} h"
    yield f"  latents       {share * rates.latent_bytes / 1e9:10.3g} GB"
    longest = max(examine_h / config.num_examiners, encode_h / config.num_encoders)
    yield f"  from begin to end about {longest:.3g} h, if all processes find a core each"
