"""One worker's run, from the newest checkpoint to the last step."""

import logging
from collections.abc import Callable
from contextlib import closing
from itertools import takewhile
from typing import Any

import ray.train
import ray.train.torch
import torch

from jobs.launch import bind_ray_metrics
from jobs.train import agree, capacity, state
from jobs.train.adapter import finisher
from jobs.train.config import TrainConfig
from jobs.train.data import Dataset
from jobs.train.gallery import Gallery, publish
from jobs.train.keeper import keeping
from jobs.train.late import Late
from jobs.train.loader import Prefetch
from jobs.train.record import StepTiming
from jobs.train.start import First, Start, find_start, first_weights, settled, with_later_frames
from jobs.train.summary import describe
from jobs.train.utilisation import Meter, measure_peak
from jobs.train.validate import Judged, Validation
from sora_core import checkpoint, telemetry
from sora_core.errors import CheckpointError, ConfigError, CorruptShard, SoraError
from sora_core.training.draws import draw_step
from sora_core.training.parallel import Workers, gather, rank_and_size, told_by_first
from sora_core.training.plan import Position
from sora_core.training.step import NonFiniteLoss, Objective
from sora_core.training.trainer import Trainer
from sora_core.vae.whitening import Whitening

logger = logging.getLogger(__name__)

_REREADS = 1.5
"""Reading each group of rows more often than this is worth a word."""


def worker(values: dict[str, Any]) -> SoraError | None:
    """What Ray Train runs on every worker; ``values`` are the config's.

    What would fail again, and on every worker alike, is returned: Ray starts anew after whatever is raised.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = TrainConfig.model_validate(values)
    rank, _ = rank_and_size()
    bind_ray_metrics()
    device = ray.train.torch.get_device()
    try:
        train_steps(config, device, lambda step, loss: ray.train.report({"step": step, "loss": loss}))
    except (NonFiniteLoss, ConfigError, CheckpointError, CorruptShard) as error:
        return error
    if rank == 0:
        publish(config, device)
    return None


def train_steps(config: TrainConfig, device: torch.device, report: Callable[[int, float], None]) -> None:
    """Load, noise, DiT, loss, step, average, checkpoint, report: until ``config.steps`` are done."""
    workers = Workers.join(config.layout(*rank_and_size()), device)
    layout = workers.layout
    dataset = config.open_data()
    rows = config.read_rows(dataset)
    newest = told_by_first(state.newest(config.output) if layout.rank == 0 else None)
    before = checkpoint.read_meta(newest) if newest else None
    start = find_start(config, dataset.manifest, before)
    if config.whiten_later and before is None and config.init is None:
        start = with_later_frames(start, dataset, rows)
    config = agree.agreed(settled(config, start), before, device)
    capacity.check_device(config, dataset, start.dit, layout, device)
    with first_weights(config, start, before, sharded=workers.weights is not None) as first:
        trainer = build(config, torch.tensor(dataset.manifest.null_text), first, start.whitening, device, workers)
    position = state.restore(newest, trainer) if newest else Position()
    judges = rows.rows(dataset.judges(config.validation.clips))
    validation = Validation.of(config, judges, dataset.manifest.text_encoder.source)
    plan = config.plan(dataset, start.dit)
    steps = takewhile(lambda planned: planned.step <= config.steps, plan.steps(position))
    meter = measure(config, dataset, start, device, layout.workers)
    meta = describe(config, dataset, start, first.base)
    if layout.rank == 0:
        _introduce(config, dataset, trainer, position, newest)
        _mind_the_data(config, dataset, plan.window_clips)
    prefetch = Prefetch(steps, dataset.train, rows, layout.data_rank, layout.data_workers, config.prefetch_steps)
    gallery = Gallery(config, dataset, device)
    finish = gallery.after(finisher(config, trainer.dit))
    with closing(gallery), keeping(config, meta, workers, finish) as keeper, closing(rows), closing(prefetch):
        late = Late(0 if device.type == "cpu" else 1)
        for batch in prefetch:
            planned, last = batch.planned, batch.planned.step == config.steps
            draws = draw_step(config.draw_rules(), planned.step, planned.num_clips)
            late.add(trainer.launch(planned, batch.packs, draws, flag=keeper.due), batch.wait_s)
            validates = last or planned.step % config.validation.every == 0
            keeps = last or planned.step % config.checkpoint_every == 0
            for done in late.settle(everything=validates or keeps):
                step, result = done.planned.step, done.result
                if result.num_skipped and config.on_corrupt == "stop":  # known to every worker, so all of them end
                    raise CorruptShard("; ".join(fault for faults in gather(rows.faults) for fault in faults))
                judged = validation.run(trainer) if validates and step == planned.step else Judged()
                used = meter.used(done.planned, done.spent_s)
                keeper.step(step, result, StepTiming(done.spent_s, done.wait_s, done.planned.num_tokens, used), judged)
                if result.flags:
                    report(step, result.loss)
            if keeps:
                keeper.checkpoint(trainer, planned.after, last=last)


def build(
    config: TrainConfig,
    null_text: torch.Tensor,
    first: First,
    whitening: Whitening,
    device: torch.device,
    workers: Workers,
) -> Trainer:
    """A trainer of this model; ``null_text`` ``(m, d)`` are the states of the empty caption."""
    dit = first.dit
    dit.activation_checkpointing = config.model.activation_checkpointing
    objective = Objective(
        dit.config.patch, whitening, config.shift_law, null_text, config.sigma_spread, config.clean_share
    )
    return Trainer(
        dit,
        objective,
        config.optimizer.rules(),
        num_steps=config.steps,
        ema_decay=config.optimizer.ema_decay,
        precision=config.dtype,
        device=device,
        workers=workers,
        rows=first.rows,
    )


def measure(config: TrainConfig, dataset: Dataset, start: Start, device: torch.device, size: int) -> Meter:
    """What tells how well the devices are used, by their peak as it is given or as one of them shows it now."""
    peak = 1e12 * config.peak_tflops if config.peak_tflops else measure_peak(device, config.dtype)
    if rank_and_size()[0] == 0:
        how = "given" if config.peak_tflops else f"measured, {config.precision} products"
        logger.info("mfu is of %.3g TFLOP/s a worker (%s)", peak / 1e12, how)
    return Meter(start.dit, dataset.mean_text_tokens(), config.lora is not None, size * peak)


def _introduce(config: TrainConfig, dataset: Dataset, trainer: Trainer, position: Position, newest: str | None) -> None:
    logger.info(
        "%s: step %d of %d, %d clips, %.2f M parameters, %s",
        newest or "a new run", position.step, config.steps, len(dataset.train), trainer.dit.num_params / 1e6,
        trainer.workers.layout,
    )  # fmt: skip


def _mind_the_data(config: TrainConfig, dataset: Dataset, window_clips: int) -> None:
    """Say what will be amiss with the data."""
    if dataset.num_left_out:
        telemetry.TRAIN_SKIPPED_CLIPS.inc(dataset.num_left_out)
    if not len(dataset.val):
        logger.info("no clip is kept for validation: there will be no validation loss")
    if (rereads := dataset.rereads(window_clips, config.cache_bytes)) > _REREADS:
        logger.warning("data may be read %.0f times a pass: raise cache_bytes or lower shuffle_clips", rereads)
