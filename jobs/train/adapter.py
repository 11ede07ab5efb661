"""What a checkpoint stores for serving: the averaged weights, or base and adapter merged, and the adapter alone."""

from collections.abc import Callable

from torch import Tensor

from jobs.train.config import TrainConfig
from sora_core import checkpoint, storage
from sora_core.checkpoint import Meta
from sora_core.dit.model import DiT
from sora_core.training import lora

ADAPTER = "adapter"

Finish = Callable[[str, dict[str, Tensor], Meta], None]
"""Stores the averages of what learned as weights that serve, and last the meta that makes the checkpoint whole."""


def finisher(config: TrainConfig, dit: DiT) -> Finish:
    """How this run's checkpoints are finished; ``dit`` holds the weights under an adapter."""
    if config.lora is None:
        return checkpoint.save_model
    rules = config.lora.rules()

    def finish(uri: str, factors: dict[str, Tensor], meta: Meta) -> None:
        with storage.scratch() as folder:
            lora.save_adapter(folder, rules, factors)
            storage.upload_folder(folder, storage.join(uri, ADAPTER))
        checkpoint.save_model(uri, lora.merged_weights(dit, factors), meta)

    return finish
