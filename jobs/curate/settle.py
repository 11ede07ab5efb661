"""What ``auto`` comes to in a curation: the same for all its actors, decided before any key of a row is made."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.curate.config import CurateConfig
from jobs.launch import ray_session
from sora_core import precision, storage
from sora_core.errors import ConfigError, MissingObject
from sora_core.precision import Choice, Precision

logger = logging.getLogger(__name__)

# A node that is busy elsewhere for longer isn't waited for.
_ANSWER_S = 120.0
_A_LITTLE_GPU = 0.001


def settled(config: CurateConfig) -> CurateConfig:
    """The config without ``auto``: as the output was begun, else what every node that may take part computes fast. It
    holds for later runs once it is left beside the output, before any work and after all checks."""
    before = _before(config.output)
    encode = _kept(config.vae_dtype, before.get("vae_dtype"))
    shots = _kept(config.models.transitions_dtype, before.get("models", {}).get("transitions_dtype"))
    asks_shots = shots == "auto" and config.models.transitions != ""
    if encode == "auto" or asks_shots:
        fast = fast_on_nodes({config.encoder_device, *(["cpu"] * asks_shots)})
        encode = precision.settle(encode, fast[config.encoder_device])
        shots = precision.settle(shots, fast.get("cpu", [precision.EXACT]))
    models = config.models.model_copy(update={"transitions_dtype": shots})
    resolved = config.model_copy(update={"vae_dtype": encode, "models": models})
    shown = f", {shots} for shots" if config.models.transitions else ""
    logger.info("precision: %s for latents%s", encode, shown)
    return resolved


def _kept(choice: Choice, before: Choice | None) -> Choice:
    return before if choice == "auto" and before is not None else choice


def _before(output: str) -> dict[str, Any]:
    """The config that this output was begun or gone on with; empty in a new place."""
    try:
        found = json.loads(storage.read_bytes(storage.join(output, "config.json")))
    except (MissingObject, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def fast_on_nodes(kinds: Iterable[str]) -> dict[str, list[Precision]]:
    """What each node of the cluster named by RAY_ADDRESS computes fast, else this machine; by kind of device."""
    if not os.environ.get("RAY_ADDRESS"):
        return {kind: [_fast(kind)] for kind in kinds}
    with ray_session():
        return {kind: list(_answers(kind)) or [precision.EXACT] for kind in kinds}


def _answers(kind: str) -> Iterator[Precision]:
    resource = {"cpu": "CPU", "cuda": "GPU"}[kind]
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource)]
    ask = ray.remote(_fast)
    gpus = _A_LITTLE_GPU if kind == "cuda" else 0
    asked = [
        ask.options(
            num_cpus=0, num_gpus=gpus, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(kind)
        for node in nodes
    ]
    if not asked:
        return
    answered, silent = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
    for each in silent:
        ray.cancel(each)
    if silent:
        logger.warning("%d nodes of %d didn't say what they compute fast: not counted", len(silent), len(asked))
    yield from ray.get(answered)


def _fast(kind: str) -> Precision:
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("gpus_per_encoder: there is no CUDA device here; set it to 0, or run on a node with GPUs")
    return precision.fast(kind)
