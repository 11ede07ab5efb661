"""Footage to latents, read from top to bottom.

1. list the bucket as a plan of work                                          `listing`
2. examine: probe, split, score, judge                                        `stages.examine`, `measure`, `verdicts`
3. where near-duplicates are looked for: commit what was examined, compare    `duplicates`
4. caption, by an endpoint if there is one                                    `words`
5. encode: decode, latents, text states, commit                               `stages.latents`, `books.commit`
6. prove, report, manifest, and last of all removal                           `books.account`, `books.removal`

Between the actors travel paths, spans and scores; each stage fetches and decodes what it needs itself, so no pixel
crosses the object store. Ray Data's own checkpoints are not used: they duplicate or lose rows when one source becomes
many clips. Instead each part of the listing is committed whole (`jobs.curate.books.ledger`).
"""

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray.actor import ActorHandle
from ray.data import ActorPoolStrategy, DataContext, Dataset

from jobs.curate.ask import estimate
from jobs.curate.ask.report import write_report
from jobs.curate.books import account, forgotten, lease, ledger, removal, resume
from jobs.curate.books.lease import Lease
from jobs.curate.books.parts import Part, read_parts
from jobs.curate.books.resume import Standing
from jobs.curate.config import CurateConfig
from jobs.curate.duplicates import copies
from jobs.curate.listing import Plan, make_plan, parts, settings_of
from jobs.curate.measure import models
from jobs.curate.progress import Amount, watching
from jobs.curate.rows import Source, part_to_item
from jobs.curate.settle import settled
from jobs.curate.stages import attempts
from jobs.curate.stages.actors import CaptionStage, EncodeStage, ExamineStage, MeasureStage, Stage
from jobs.curate.stages.latents import Encoders, LatentEncoder
from jobs.curate.words import endpoint
from jobs.launch import bind_ray_metrics, ray_session, write_resolved
from jobs.progress import say
from sora_core import storage
from sora_core.errors import SoraError

logger = logging.getLogger(__name__)

# Logical cores of a local cluster: actors that wait for work hold one each, and Ray Data needs one to move blocks.
_LOCAL_CPUS = 8


def curate(config: CurateConfig) -> None:
    """Do what is missing under ``config.output`` and prove that nothing is forgotten."""
    storage.check_readable(config.source)
    if not config.dry_run:
        storage.check_writable(config.output)
    if config.caption_endpoint:
        endpoint.check(config.caption_endpoint)
    models.load(config.models)
    if config.dry_run:
        foresee(settled(config))
        return
    with lease.held(config.output) as held:
        config = settled(config)
        attempts.forget(config.output)
        _curate(config, LatentEncoder(config, "cpu").describe(), held)
        attempts.forget(config.output)


def foresee(config: CurateConfig) -> None:
    """Say what a run would do, and change nothing."""
    encoders = LatentEncoder(config, "cpu").describe()
    known = read_parts(config.output)
    plan, standing = look(config, encoders, known)
    todo = [source for part in missing_parts(plan, standing, config) for source in part]
    again = [source for unit in measured_parts(plan, standing) for source in unit]
    rates = estimate.of_ledger(known, config.output) or (estimate.by_trial(todo, config) if todo else None)
    for line in estimate.lines(todo, again, rates, config):
        say(line)


def look(config: CurateConfig, encoders: Encoders, known: Sequence[Part]) -> tuple[Plan, Standing]:
    """The plan, and where the output stands to it. ConfigError when a run would do harm."""
    settings = settings_of(config, encoders.vae.fingerprint, encoders.text_encoder.fingerprint)
    plan = forgotten.without(make_plan(config, settings, () if config.prune else known), config.output)
    wanted = plan.keys
    removal.check_pruned(known, wanted, config)
    standing = resume.stand(known, wanted, resume.stored_names(config.output), prune=config.prune)
    account.check_same_encoders(config, encoders, known, standing.others)
    return plan, standing


def _curate(config: CurateConfig, encoders: Encoders, held: Lease) -> None:
    known = read_parts(config.output)
    plan, standing = look(config, encoders, known)
    write_resolved(config, config.output)
    wanted = plan.keys
    if config.max_likeness is not None:
        measure(plan, config, known)
        known = read_parts(config.output, known)
        plan = compared(plan, config, known)
        wanted = plan.keys
        standing = resume.stand(known, wanted, resume.stored_names(config.output), prune=config.prune)
    resume.settle(standing, config.output)
    write_others(plan, standing, config.output)
    work = [*measured_parts(plan, standing), *missing_parts(plan, standing, config)]
    num_sources, num_done = sum(map(len, work)), len(standing.done) - len(standing.others)
    say(f"curate: {len(wanted)} objects under {config.source}, {num_done} done before, {num_sources} to do")
    if work:
        kinds = (ExamineStage, CaptionStage, EncodeStage) if config.caption_endpoint else (ExamineStage, EncodeStage)
        process(work, kinds, config)
    committed = {ledger.part_name(source.key for source in part) for part in work}
    close(config, encoders, wanted.keys(), known, standing, committed, held)


def measure(plan: Plan, config: CurateConfig, known: Sequence[Part]) -> None:
    """Spans, scores and fingerprints of every source that has none yet, to the ledger."""
    measured = frozenset[str]().union(*(part.measured for part in known))
    cut = parts(plan.sources, config.sources_per_part, config.bytes_per_part)
    unseen = [[item for item in part if item.examine_key not in measured] for part in cut]
    work = [part for part in unseen if part]
    if work:
        say(f"curate: {sum(map(len, work))} of {len(plan.sources)} sources to measure before any is encoded")
        process(work, (MeasureStage,), config)


def compared(plan: Plan, config: CurateConfig, known: Sequence[Part]) -> Plan:
    """The plan with the near-duplicates that the ledger's fingerprints show, if any are looked for."""
    if config.max_likeness is None:
        return plan
    found = copies.find(plan, config, known)
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


def process(work: list[list[Source]], kinds: Sequence[type[Stage]], config: CurateConfig) -> None:
    """Stages that take time, on as many actors as the config says."""
    with ray_session(num_cpus=_LOCAL_CPUS):
        bind_ray_metrics()
        total = Amount.of(source.size for part in work for source in part)
        with watching([kind.name for kind in kinds], total) as board:
            for _ in run_stages(work, kinds, config, board):
                pass


def run_stages(
    work: list[list[Source]], kinds: Sequence[type[Stage]], config: CurateConfig, board: ActorHandle
) -> Iterator[pa.Table]:
    """The DAG. One block is one part, so a block that comes out is a part that is committed."""
    quiet_datasets()
    items = [part_to_item(part) for part in work]
    dataset = ray.data.from_items(items, override_num_blocks=len(work))
    for kind in kinds:
        dataset = stage(dataset, kind, config, board, len(kinds))
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    except Exception as error:
        raise _own_error(error) or error from error


def quiet_datasets() -> None:
    """Ray Data's own bars and progress are not the job's, which has a line of its own."""
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def stage(dataset: Dataset, kind: type[Stage], config: CurateConfig, board: ActorHandle, num_stages: int) -> Dataset:
    """A dataset after one more stage, on a pool of actors that grows with the work and with the cluster."""
    core = core_of_actor(float(ray.cluster_resources().get("CPU", 0)), num_stages)
    at_most, cpus, gpus = {
        # It decodes and measures, on one core each; networks too take one thread.
        "examine": (config.num_examiners, core, 0.0),
        # It waits for the endpoint most of the time; decoding a few frames is all that it computes.
        "caption": (config.num_captioners, core / 4, 0.0),
        # The autoencoder has the GPU, its decoder beside it a core; without a GPU both share that core.
        "encode": (config.num_encoders, core, config.gpus_per_encoder),
    }[kind.name]
    return dataset.map_batches(
        kind,
        fn_constructor_args=arguments_of(kind, config, board),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=at_most),
        num_cpus=cpus,
        num_gpus=gpus,
    )


def arguments_of(kind: type[Stage], config: CurateConfig, board: ActorHandle) -> tuple[Any, ...]:
    """What an actor is made with. The endpoint's key comes from the driver's environment: a worker's has none, and an
    environment that the job gave to its workers is shown to everybody who sees the dashboard."""
    if kind is not CaptionStage or config.caption_endpoint is None:
        return config, board
    return config, board, os.environ.get(config.caption_endpoint.api_key_env)


def core_of_actor(cores: float, num_stages: int) -> float:
    """Logical cores that an actor asks for: a whole one, so that a cluster which scales sees what is wanted and brings
    nodes, the first of them too. Less on a cluster that is there and couldn't hold one actor of each stage and a task
    beside them: Ray Data would wait for ever."""
    return 1.0 if not cores or cores > num_stages else int(100 * cores / (num_stages + 1)) / 100


def _own_error(error: BaseException | None) -> SoraError | None:
    """The error of this house that Ray wrapped, for the right exit code."""
    while error is not None:
        cause = getattr(error, "cause", None)
        if isinstance(cause, SoraError):
            return cause
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return None


def close(
    config: CurateConfig,
    encoders: Encoders,
    wanted: Collection[str],
    known: Sequence[Part],
    standing: Standing,
    committed: set[str],
    held: Lease,
) -> None:
    """Prove the ledger, leave the report and the manifest, print the table, and then take away what is out
    of date: parts that this run has ``committed`` under the same name stay."""
    held.check()
    retired = set(standing.stale) - committed
    live = [part for part in read_parts(config.output, known) if part.name not in retired]
    books = account.prove(live, wanted, resume.stored_names(config.output))
    write_report(config, books, live)
    say(str(books))
    if standing.others:
        say(
            f"curate: {len(standing.others)} objects stay that this run doesn't want (other source, gone, beyond limit)"
        )
    manifest = account.write_manifest(config, encoders, books, live)
    removal.sweep(config.output, retired, live, config.grace_hours, held)
    totals = manifest.totals
    say(
        f"curate: {totals.clips} clips, {totals.seconds:.0f} s of footage, {totals.latent_values / 1e6:.1f} M latent "
        f"values in {len(manifest.shards)} shards under {config.output}"
    )
