"""Whether a run fits the memory of its workers, told before it starts."""

import logging
import math
from dataclasses import replace
from functools import lru_cache

import torch

from jobs.train.config import TrainConfig
from jobs.train.data import Dataset
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.errors import ConfigError
from sora_core.shapes import LatentShape, Patch
from sora_core.training.memory import GIB, Needs, Workload, needs
from sora_core.training.optim import OptimRules
from sora_core.training.parallel import Layout

logger = logging.getLogger(__name__)

_LONGEST_SIDE = 1024
"""No model has positions for more tokens a side."""


def estimate(config: TrainConfig, dataset: Dataset, dit: DiTConfig, num_workers: int) -> Needs:
    """What each of so many workers needs when its pack is full of the longest clips. An adapter is left out."""
    longest = int(dataset.tokens(dit.patch).max())
    lengths = [longest] * (config.pack_tokens // longest)
    if rest := config.pack_tokens % longest:
        lengths.append(rest)
    workload = Workload(
        tuple(_shape(length, dit.in_channels, dit.patch) for length in lengths),
        math.ceil(dataset.mean_text_tokens()),
        config.dtype,
        config.model.activation_checkpointing,
        config.use_gpu,
    )
    needed = _needs(dit, config.optimizer.rules(), workload, config.layout(0, num_workers))
    return replace(needed, samples=_second_model(config, dit)) if config.samples.every else needed


def _second_model(config: TrainConfig, dit: DiTConfig) -> float:
    """Bytes of the transformer that makes samples beside the one that learns."""
    with torch.device("meta"):
        return float(DiT(dit).num_params * (config.dtype if config.use_gpu else torch.float32).itemsize)


@lru_cache(maxsize=16)
def _needs(dit: DiTConfig, rules: OptimRules, workload: Workload, layout: Layout) -> Needs:
    return needs(dit, rules, workload, layout)


def _shape(num_tokens: int, channels: int, patch: Patch) -> LatentShape:
    """A latent of so many tokens, as near to a square as its divisors allow: only their number costs memory."""
    width = _divisor(num_tokens, _LONGEST_SIDE)
    height = _divisor(num_tokens // width, _LONGEST_SIDE)
    frames = num_tokens // (width * height)
    return LatentShape(channels, frames * patch.time, height * patch.height, width * patch.width)


def _divisor(number: int, most: int) -> int:
    return next(found for found in range(min(number, most), 0, -1) if number % found == 0)


def check(config: TrainConfig, dataset: Dataset, dit: DiTConfig) -> None:
    """Say what a worker needs where there are fewest of them. ConfigError when that is more than ``memory_gib``."""
    fewest = config.num_workers if isinstance(config.num_workers, int) else config.num_workers[0]
    needed = estimate(config, dataset, dit, fewest)
    logger.info("%d workers need %s", fewest, needed)
    if config.memory_gib is not None:
        _refuse_beyond(config.memory_gib, f"memory_gib = {config.memory_gib}", needed)


def check_device(config: TrainConfig, dataset: Dataset, dit: DiTConfig, layout: Layout, device: torch.device) -> None:
    """ConfigError, on every worker alike, when the run needs more than a GPU has."""
    if device.type == "cuda":
        has = torch.cuda.get_device_properties(device).total_memory / GIB
        _refuse_beyond(has, f"a {torch.cuda.get_device_name(device)}", estimate(config, dataset, dit, layout.workers))


def _refuse_beyond(has_gib: float, what: str, needed: Needs) -> None:
    if needed.total > has_gib * GIB:
        raise ConfigError(
            f"the run needs {needed}, {what} gives {has_gib:.2f}: lower pack_tokens, set "
            'model.activation_checkpointing = true, or share the weights among more workers (parallel = "fsdp") or the '
            "tokens (context_parallel)"
        )
