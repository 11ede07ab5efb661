"""The precision of a run: one for all its workers, and the same after every restart."""

import logging
from typing import cast

import torch

from jobs.launch import write_resolved
from jobs.train.config import TrainConfig
from sora_core import precision
from sora_core.checkpoint import Meta
from sora_core.precision import Precision
from sora_core.training.parallel import gather, rank_and_size

logger = logging.getLogger(__name__)


def expected(config: TrainConfig, before: Meta | None) -> TrainConfig:
    """The config with the precision that workers will agree on, as far as the driver can tell: those on GPUs are taken
    for ones with 16-bit units, those on CPUs for cores like the driver's."""
    kept = _kept(config, before)
    if kept.precision != "auto":
        return kept
    return _with(config, precision.REDUCED if config.use_gpu else precision.fast("cpu"))


def agreed(config: TrainConfig, before: Meta | None, device: torch.device) -> TrainConfig:
    """The config with the run's precision in it; all workers call it together.

    ``auto`` becomes what the checkpoint ``before`` was made in, in a new run what every worker computes fast. Workers
    that compute it slowly are told of, with the factor.
    """
    kept = _kept(config, before)
    settled = precision.settle(kept.precision, gather(precision.fast(device)))
    factors = gather(precision.slowdown(settled, device) if precision.is_slow(settled, device) else 0.0)
    resolved = _with(config, settled)
    if rank_and_size()[0] == 0:
        how = "what all workers compute fast" if kept.precision == "auto" else "as it was chosen"
        logger.info("precision: %s (%s)", settled, how if kept is config else "as this run began")
        if any(factors):
            slow = sum(factor > 0 for factor in factors)
            precision.warn(f"{slow} of {len(factors)} workers", settled, max(factors))
        write_resolved(resolved, config.output)
    return resolved


def _kept(config: TrainConfig, before: Meta | None) -> TrainConfig:
    """The config, with the run's own precision instead of ``auto`` where it has begun."""
    own = before.training.get("precision") if before is not None else None
    return config if config.precision != "auto" or own is None else _with(config, cast(Precision, own))


def _with(config: TrainConfig, settled: Precision) -> TrainConfig:
    return config.model_copy(update={"precision": settled})
