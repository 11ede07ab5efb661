"""Footage to latents, read from top to bottom.

list -> [examine: probe, split, score, judge] -> [caption, by an endpoint if there is one] -> [encode: decode, latents,
text states, commit] -> prove -> manifest -> report. Where near-duplicates are looked for, everything is examined,
committed and compared before anything is encoded. Between the actors travel paths, spans and scores; each stage
fetches and decodes what it needs itself, so no pixel crosses the object store. Ray Data's own checkpoints are not
used: they duplicate or lose rows when one source becomes many clips. Instead each part of the listing is committed
whole (`jobs.curate.books.ledger`).
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import ray
from ray.actor import ActorHandle
from ray.data import ActorPoolStrategy, DataContext, Dataset

from jobs.curate.ask.report import write_report
from jobs.curate.books import account, ledger, resume
from jobs.curate.books.commit import commit, commit_measured
from jobs.curate.books.resume import Standing
from jobs.curate.config import CurateConfig
from jobs.curate.duplicates import copies
from jobs.curate.isolated import Isolated, ProcessDied
from jobs.curate.listing import Plan, make_plan, parts, settings_of
from jobs.curate.measure import models
from jobs.curate.progress import say, watching
from jobs.curate.rows import (
    Clip,
    Examined,
    Source,
    examined_from_table,
    examined_to_table,
    part_from_table,
    part_to_item,
)
from jobs.curate.settle import settled
from jobs.curate.stages.examine import examine, examine_again
from jobs.curate.stages.latents import Encoders, LatentEncoder
from jobs.curate.stages.pixels import InARow, decode_pixels, reason_of
from jobs.curate.words.endpoint import CaptionWriter, captioner_of
from jobs.launch import bind_ray_metrics, ray_session
from sora_core import precision, storage, telemetry
from sora_core.errors import SoraError

logger = logging.getLogger(__name__)

# Logical cores of a local cluster: actors that wait for work hold a share, and Ray Data needs one to move blocks.
_LOCAL_CPUS = 8


def curate(config: CurateConfig) -> None:
    """Do what is missing under ``config.output`` and prove that nothing is forgotten."""
    storage.check_readable(config.source)
    storage.check_writable(config.output)
    if config.caption_endpoint:
        captioner_of(config.caption_endpoint).check()
    models.load(config.models)
    config = settled(config)
    encoders = LatentEncoder(config, "cpu").describe()
    plan = make_plan(config, settings_of(config, encoders.vae.fingerprint, encoders.text_encoder.fingerprint))
    if config.max_likeness is not None:
        measure(plan, config)
        plan = compared(plan, config)
    standing = resume.stand(config.output, plan.keys.values())
    write_others(plan, standing, config.output)
    work = [*measured_parts(plan, standing), *missing_parts(plan, standing, config)]
    num_sources, num_done = sum(map(len, work)), len(standing.done)
    say(f"curate: {len(plan.keys)} objects under {config.source}, {num_done} done before, {num_sources} to do")
    if work:
        kinds = (ExamineStage, CaptionStage, EncodeStage) if config.caption_endpoint else (ExamineStage, EncodeStage)
        process(work, kinds, config)
    resume.retire(config.output, standing, {ledger.part_name(source.key for source in part) for part in work})
    close(plan, config, encoders)


def measure(plan: Plan, config: CurateConfig) -> None:
    """Spans, scores and fingerprints of every source that has none yet, to the ledger."""
    measured = frozenset[str]().union(*(part.measured for part in ledger.read_parts(config.output)))
    cut = parts(plan.sources, config.sources_per_part, config.bytes_per_part)
    unseen = [[item for item in part if item.examine_key not in measured] for part in cut]
    work = [part for part in unseen if part]
    if work:
        say(f"curate: {sum(map(len, work))} of {len(plan.sources)} sources to measure before any is encoded")
        process(work, (MeasureStage,), config)


def compared(plan: Plan, config: CurateConfig) -> Plan:
    """The plan with the near-duplicates that the ledger's fingerprints show, if any are looked for."""
    if config.max_likeness is None:
        return plan
    found = copies.find(plan, config)
    say(f"curate: {sum(map(len, found.values()))} clips of {len(found)} objects are near-duplicates")
    return copies.told_apart(plan, found)


def write_others(plan: Plan, standing: Standing, output: str) -> None:
    """Rows of what needs no look."""
    others = [row for row in plan.others if row.source.key not in standing.done]
    if others:
        ledger.write_part(others, [], output)


def measured_parts(plan: Plan, standing: Standing) -> list[list[Source]]:
    """Units of work that were measured before, with the part that says so: as they were committed then, so that files
    of latents can stay as they are."""
    units: dict[str, list[Source]] = {}
    for source in plan.sources:
        part = standing.measured.get(source.examine_key)
        if part and source.key not in standing.done:
            units.setdefault(part, []).append(replace(source, previous=part))
    return list(units.values())


def missing_parts(plan: Plan, standing: Standing, config: CurateConfig) -> list[list[Source]]:
    """Units of work that nobody has looked at. The cuts depend on the whole listing, so an interrupted run redoes the
    same batches that an uninterrupted one would have done."""
    cut = parts(plan.sources, config.sources_per_part, config.bytes_per_part)
    missing = (
        [item for item in part if item.key not in standing.done and item.examine_key not in standing.measured]
        for part in cut
    )
    return [part for part in missing if part]


def process(work: list[list[Source]], kinds: "Sequence[type[Stage]]", config: CurateConfig) -> None:
    """Stages that take time, on as many actors as the config says."""
    with ray_session(num_cpus=_LOCAL_CPUS):
        bind_ray_metrics()
        with watching([kind.name for kind in kinds], sum(map(len, work))) as board:
            for _ in run_stages(work, kinds, config, board):
                pass


def run_stages(
    work: list[list[Source]], kinds: "Sequence[type[Stage]]", config: CurateConfig, board: ActorHandle
) -> Iterator[pa.Table]:
    """The DAG. One block is one part, so a block that comes out is a part that is committed."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    items = [part_to_item(part) for part in work]
    dataset = ray.data.from_items(items, override_num_blocks=len(work))
    for kind in kinds:
        dataset = stage(dataset, kind, config, board)
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    except Exception as error:
        raise _own_error(error) or error from error


def stage(dataset: Dataset, kind: "type[Stage]", config: CurateConfig, board: ActorHandle) -> Dataset:
    """A dataset after one more stage, on actors of its own."""
    return dataset.map_batches(
        kind,
        fn_constructor_args=(config, board),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=getattr(config, kind.actors)),
        num_cpus=cpu_share(config),
        num_gpus=config.gpus_per_encoder if kind is EncodeStage else 0,
    )


def cpu_share(config: CurateConfig) -> float:
    """Logical cores of an actor: one, or less where the cluster has too few. A pool that holds every core leaves none
    to move blocks, and Ray Data then waits for ever."""
    cores = float(ray.cluster_resources().get("CPU", 1))
    captioners = config.num_captioners if config.caption_endpoint else 0
    return min(1.0, int(100 * cores / (config.num_examiners + captioners + config.num_encoders + 1)) / 100)


def _own_error(error: BaseException | None) -> SoraError | None:
    """The error of this house that Ray wrapped, for the right exit code."""
    while error is not None:
        cause = getattr(error, "cause", None)
        if isinstance(cause, SoraError):
            return cause
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return None


class Stage:
    """An actor of the DAG: a table of one part in, a table of the same part out. The config's ``actors`` says how many
    there are."""

    name: ClassVar[str]
    actors: ClassVar[str]

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        bind_ray_metrics()
        self._config = config
        self._board = board
        self._isolated = Isolated()
        self._unread = InARow(config.max_faults_in_a_row)

    def _decode(self, path: Path, kind: str | None, clip: Clip) -> np.ndarray:
        return self._isolated.call_twice(decode_pixels, path, kind, clip)


class ExamineStage(Stage):
    """Sources to sources with judged clips: cores, no models."""

    name, actors = "examine", "num_examiners"

    def __call__(self, table: pa.Table) -> pa.Table:
        sources = part_from_table(table)
        before: dict[str, Examined] = {}
        for part in sorted({source.previous for source in sources if source.previous}):
            before |= ledger.recall(part, self._config.output)
        rows = []
        for source in sources:
            rows.append(self._examine(source, before.get(source.uri)))
            self._board.add.remote("examine", 1, Counter())
        return examined_to_table(rows)

    def _examine(self, source: Source, before: Examined | None) -> Examined:
        if before and before.source.examine_key == source.examine_key:
            return examine_again(source, before, self._config)
        try:
            row = self._isolated.call_twice(examine, source, self._config)
        except ProcessDied as error:
            row = Examined(source, None, "failed", reason_of(error, source.uri))
        self._unread.saw(row.reason, source.uri)
        telemetry.CURATE_STAGE_SECONDS.observe(row.examine_s, {"stage": "examine"})
        telemetry.CURATE_DECODED_FRAMES.inc(row.decoded_frames)
        return row


class MeasureStage(ExamineStage):
    """Sources to committed parts without latents."""

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = examined_from_table(super().__call__(table))
        commit_measured(rows, self._config.output)
        return pa.table({"sources": [len(rows)]})


class CaptionStage(Stage):
    """Sources with judged clips to the same with captions: requests to an endpoint."""

    name, actors = "caption", "num_captioners"

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        super().__init__(config, board)
        assert config.caption_endpoint is not None
        self._writer = CaptionWriter(config.caption_endpoint, self._decode)

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = self._writer(examined_from_table(table))
        for row in rows:
            if any(clip.status != "dropped" for clip in row.clips):
                self._unread.saw(
                    next((clip.reason for clip in row.clips if clip.status == "failed"), None), row.source.uri
                )
        self._board.add.remote("caption", len(rows), Counter())
        return examined_to_table(rows)


class EncodeStage(Stage):
    """Sources with judged clips to committed parts: a GPU where there is one."""

    name, actors = "encode", "num_encoders"

    def __init__(self, config: CurateConfig, board: ActorHandle) -> None:
        super().__init__(config, board)
        precision.warn_if_slow("encoding", config.encodes_in, config.encoder_device)
        self._encoder = LatentEncoder(config, config.encoder_device, self._decode)

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = commit(examined_from_table(table), self._encoder, self._config.output)
        self._board.add.remote("encode", len(rows), Counter(clip.status for row in rows for clip in row.clips))
        return pa.table({"sources": [len(rows)]})


def close(plan: Plan, config: CurateConfig, encoders: Encoders) -> None:
    """Prove the ledger, leave the report and the manifest, print the table."""
    books = account.prove(plan, config.output)
    write_report(config, books)
    say(str(books))
    manifest = account.write_manifest(config, encoders, books)
    totals = manifest.totals
    say(
        f"curate: {totals.clips} clips, {totals.seconds:.0f} s of footage, {totals.latent_values / 1e6:.1f} M latent "
        f"values in {len(manifest.shards)} shards under {config.output}"
    )
