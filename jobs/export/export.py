"""Our weights in the layout in which diffusers publishes Wan's."""

import logging

from jobs.launch import JobConfig
from sora_core import checkpoint, storage
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_strictly, save_wan

logger = logging.getLogger(__name__)


class ExportConfig(JobConfig):
    """Write the transformer of a checkpoint, or of a run's newest, in diffusers' layout.

    The rest of a pipeline's folder (autoencoder, text encoder, scheduler) is that which the model was begun with.
    """

    checkpoint: str
    output: str


def export(config: ExportConfig) -> None:
    """CheckpointError for a model that the open layout can't express: one that wasn't begun with open weights."""
    storage.check_writable(config.output)
    weights, meta = checkpoint.load_model(config.checkpoint)
    dit = load_strictly(DiTConfig.from_dict(meta.dit), weights, config.checkpoint)
    where = storage.join(config.output, "transformer")
    with storage.scratch() as folder:
        save_wan(dit, folder)
        storage.upload_folder(folder, where)
    logger.info("%s, step %d, as %s", config.checkpoint, meta.step, where)
