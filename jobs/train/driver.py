"""The command: check everything that can be checked, then let Ray Train run the workers."""

import logging
import os

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from jobs.launch import ray_session, write_resolved
from jobs.train import agree, capacity, state
from jobs.train.config import TrainConfig, differences
from jobs.train.gallery import is_published
from jobs.train.loop import worker
from jobs.train.start import check_sizes, find_start, settled
from sora_core import checkpoint, storage
from sora_core.checkpoint import Meta
from sora_core.dit.config import DiTConfig
from sora_core.errors import CheckpointError, ConfigError, SoraError
from sora_core.shards import Manifest
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder

logger = logging.getLogger(__name__)

# Ray Train's own settings: a report waits for the next look at the workers.
_HEALTH_CHECK_INTERVAL_S = "0.5"
# How long workers wait for their places: an autoscaler may have to bring nodes. An elastic run should rather look again
# for how many places there are, for those of a dead node are counted for up to 20 s.
_START_TIMEOUT_S, _ELASTIC_START_TIMEOUT_S = "300", "30"


def train(config: TrainConfig) -> None:
    """Train to ``config.steps`` from where the output stands. InputError, before any step, for what can't work."""
    done = check(config)
    if done == config.steps and is_published(config.output):
        logger.info("%s: all %d steps are done already", config.output, done)
        return
    write_resolved(config, config.output)
    elastic = not isinstance(config.num_workers, int)
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _HEALTH_CHECK_INTERVAL_S)
    os.environ.setdefault(
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", _ELASTIC_START_TIMEOUT_S if elastic else _START_TIMEOUT_S
    )
    # One logical core a worker, and one for whatever the cluster itself wants.
    with ray_session(num_cpus=config.max_workers + 1):
        fit(config)


def check(config: TrainConfig) -> int:
    """The number of steps done. InputError for data, a place or a config that training would fail on."""
    dataset = config.open_data()
    manifest = dataset.manifest
    storage.check_writable(config.output)
    newest = state.newest(config.output)
    before = checkpoint.read_meta(newest) if newest is not None else None
    start = find_start(config, manifest, before)
    config.check_layouts(start.dit)
    check_sizes(config, start.dit)
    dataset.plan(start.dit.patch, config.plan_rules(start.dit))
    resolved = agree.expected(settled(config, start), before)
    capacity.check(resolved, dataset, start.dit)
    if before is not None:
        check_resume(resolved, manifest, start.dit, before)
    if config.samples.count:
        vae, text_encoder = manifest.vae.source, manifest.text_encoder.source
        manifest.check_encoders(
            vae=VideoAutoencoder.load(vae).fingerprint, text_encoder=TextEncoder.load(text_encoder).fingerprint
        )
    return before.step if before is not None else 0


def check_resume(config: TrainConfig, manifest: Manifest, dit: DiTConfig, before: Meta) -> None:
    """InputError when a run can't go on with this config and data: it names what changed."""
    manifest.check_encoders(vae=before.vae.fingerprint, text_encoder=before.text_encoder.fingerprint)
    if changed := list(differences(dit.to_dict(), before.dit)):
        raise CheckpointError(
            f"{config.output} holds {before.step} steps of another model ({'; '.join(changed)}): "
            "restore those values, or choose another output"
        )
    if config.steps < before.step:
        raise ConfigError(
            f"steps = {config.steps}, but {config.output} has done {before.step}: raise steps, or choose another output"
        )
    now = config.model_dump(mode="json") | {"output": None}
    for change in differences(now, before.training | {"output": None}):
        logger.warning("changed since step %d: %s", before.step, change)


def fit(config: TrainConfig) -> None:
    """Run the workers; a lost one makes Ray start them all again, each from the newest checkpoint.

    What starting again can't mend ends the run at once: NonFiniteLoss, ConfigError, CheckpointError, CorruptShard.
    """
    filesystem, path = storage.filesystem(storage.join(config.output, "ray"))
    trainer = TorchTrainer(
        worker,
        train_loop_config=config.model_dump(mode="json"),
        torch_config=TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers, use_gpu=config.use_gpu, resources_per_worker=config.resources_per_worker
        ),
        run_config=RunConfig(
            name="train",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
        ),
    )
    outcome = trainer.fit().return_value
    if isinstance(outcome, SoraError):
        raise outcome
