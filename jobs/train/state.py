"""What a run needs to go on as if it had never stopped: each worker's part of it, and the way back in.

Nothing is drawn from a global random generator, so weights, average, optimisers and the position in the plan are all.
"""

import dataclasses
import json
import logging
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from jobs.train import host, parts
from sora_core import checkpoint, storage
from sora_core.errors import CheckpointError, MissingObject
from sora_core.training.parallel import Layout
from sora_core.training.plan import Position
from sora_core.training.trainer import Trainer

logger = logging.getLogger(__name__)

_POSITION = "position.json"
_MODEL, _AVERAGE, _OPTIMIZER = "model.", "ema.", "optimizer."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """This worker's part of a trainer's tensors, on their way to the CPU, and where the trainer stood.

    ``average`` has the weights that serve, on the first worker, where they lie whole; ``wait`` until all are there.
    """

    tensors: dict[str, Tensor]
    position: Position
    average: dict[str, Tensor] | None
    wait: Callable[[], None]

    @classmethod
    def take(cls, trainer: Trainer, position: Position) -> "Snapshot":
        layout = trainer.workers.layout
        everything = _tensors(trainer)
        mine = set(_share(everything, layout))
        serves = layout.rank == 0 and layout.shards == 1
        averages = {name for name in everything if name.startswith(_AVERAGE)} if serves else set()
        copies, wait = host.copy(
            {name: everything[name] for name in everything if name in mine | averages}, trainer.device
        )
        average = {name.removeprefix(_AVERAGE): copies[name] for name in averages} if serves else None
        return cls({name: copies[name] for name in copies if name in mine}, position, average, wait)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every tensor of a trainer's state by a name that no number of workers changes."""
    model = {f"{_MODEL}{name}": value for name, value in trainer.dit.named_parameters() if value.requires_grad}
    average = {f"{_AVERAGE}{name}": value for name, value in trainer.ema.average.items()}
    return model | average | {f"{_OPTIMIZER}{name}": value for name, value in trainer.optimizers.state().items()}


def _share(tensors: Mapping[str, Tensor], layout: Layout) -> list[str]:
    """What this worker's replica stores of the state that all replicas hold: about as much as every other."""
    by_size = sorted(tensors, key=lambda name: (-tensors[name].numel(), name))
    return by_size[layout.replica :: layout.replicas]


def store(uri: str, snapshot: Snapshot, group: ProcessGroup | None) -> None:
    """Store this worker's part, as all workers of the group do at once; what fails for one is raised by all alike."""
    parts.write(storage.join(uri, checkpoint.STATE), snapshot.tensors, group)


def store_position(uri: str, position: Position) -> None:
    """What one worker stores for all."""
    text = json.dumps(dataclasses.asdict(position))
    storage.write_bytes(storage.join(uri, checkpoint.STATE, _POSITION), text.encode())


def average_of(uri: str) -> dict[str, Tensor]:
    """The averaged weights, whole, from the parts of them that workers have stored."""
    state = storage.join(uri, checkpoint.STATE)
    known = parts.shapes(parts.index(state))
    average = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in known.items()
        if name.startswith(_AVERAGE)
    }
    parts.read(state, average, None)
    return {name.removeprefix(_AVERAGE): value for name, value in average.items()}


# --- going on


def newest(output: str) -> str | None:
    """The newest checkpoint that a run can go on from; one whose parts are gone is passed over, and named."""
    for found in reversed(checkpoint.list_checkpoints(output)):
        fault = _fault(storage.join(found.uri, checkpoint.STATE))
        if fault is None:
            return found.uri
        logger.warning("%s is passed over: %s", found.uri, fault)
    return None


def restore(uri: str, trainer: Trainer) -> Position:
    """Put a checkpoint's state into a trainer, however many workers wrote it; where it stood.

    CheckpointError when the state can't be used.
    """
    state = storage.join(uri, checkpoint.STATE)
    known = parts.shapes(parts.index(state))
    prefix = _OPTIMIZER
    trainer.optimizers.make_room(name.removeprefix(prefix) for name in known if name.startswith(prefix))
    tensors = _tensors(trainer)
    if known.keys() != tensors.keys() or any(item.size != tensors[name].shape for name, item in known.items()):
        raise CheckpointError(f"{uri}: its training state is of another model; use that model's config")
    try:
        with torch.no_grad():
            parts.read(state, tensors, trainer.workers.background)
        return _read_position(state)
    except (RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{uri}: its training state can't be read ({error}); delete it to use an older one"
        ) from error


def _read_position(state: str) -> Position:
    return Position(**json.loads(storage.read_bytes(storage.join(state, _POSITION))))


def _fault(state: str) -> str | None:
    """Why nothing can go on from a state; None when all of it is there."""
    try:
        gone = parts.missing(state, parts.index(state))
        _read_position(state)
    except MissingObject as error:
        return str(error)
    except (EOFError, pickle.UnpicklingError, ValueError, TypeError) as error:
        return f"its index can't be read ({error})"
    return f"{', '.join(gone)} missing or cut short" if gone else None
