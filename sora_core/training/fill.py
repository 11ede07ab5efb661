"""The first weights of a model whose weights lie in shards: each worker makes or reads its own rows alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from sora_core.training.sharding import local

Rows = Callable[[str, slice], Tensor]
"""Some rows (the first dimension) of a parameter by its name."""


@torch.no_grad()
def fill(model: nn.Module, rows: Rows) -> None:
    """Put values into the rows of each parameter that this worker holds."""
    for name, parameter in model.named_parameters():
        held = local(parameter.detach())
        if len(held):
            first = _first_row(parameter)
            held.copy_(rows(name, slice(first, first + len(held))))


def _first_row(parameter: nn.Parameter) -> int:
    """Where this worker's rows begin: all but the last worker hold as many, as ``torch.chunk`` gives them."""
    if not isinstance(parameter, DTensor):
        return 0
    mesh = parameter.device_mesh
    size, index = mesh["shard"].size(), mesh.get_local_rank("shard")
    return min(parameter.shape[0], index * -(-parameter.shape[0] // size))


def nothing(_name: str, _rows: slice) -> Tensor:
    """`Rows` that something else is put over."""
    return torch.zeros(())


class Drawn:
    """The values that ``make()`` would give a fresh model's parameters, one at a time and never all at once.

    The model is built without numbers; what would have drawn them is remembered with the random generator's state.
    """

    def __init__(self, make: Callable[[], nn.Module], seed: int) -> None:
        recorder = _Recorder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.device("meta"), recorder:
                self.model = make()
        self._recipes = {
            name: (value.shape, recorder.recipes[value.untyped_storage()._cdata])
            for name, value in self.model.named_parameters()
        }
        self._kept = recorder.kept

    def rows(self, name: str, which: slice) -> Tensor:
        """`Rows` of the fresh model."""
        shape, recipe = self._recipes[name]
        value = torch.empty(shape)
        with torch.random.fork_rng(devices=[]):
            for state, write in recipe:
                torch.set_rng_state(state)
                write(value)
        return value[which]


_Recipe = list[tuple[Tensor, Callable[[Tensor], object]]]


class _Recorder(TorchDispatchMode):
    """Notes, by storage, what writes numbers into tensors that have none; draws as they would have drawn."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recipes: dict[int, _Recipe] = {}
        self.kept: list[Tensor] = []  # an address may not be given to another tensor meanwhile

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("empty", "zeros", "ones"):
            self.kept.append(out)
            constant = {"empty": None, "zeros": 0.0, "ones": 1.0}[name]
            self.recipes[_key(out)] = [] if constant is None else [(torch.get_rng_state(), _constant(constant))]
        elif name in ("zero_", "fill_"):
            self.recipes[_key(args[0])] = [(torch.get_rng_state(), _constant(args[1] if name == "fill_" else 0.0))]
        elif name == "uniform_":
            low, high = (*args[1:], 0.0, 1.0)[:2]
            self.recipes[_key(args[0])] = [(torch.get_rng_state(), lambda value: value.uniform_(low, high))]
            torch.empty(args[0].shape, device="cpu").uniform_(low, high)
        else:
            assert not func._schema.is_mutable, f"{name} writes numbers that nobody remembers"
        return out


def _key(value: Tensor) -> int:
    key: int = value.untyped_storage()._cdata
    return key


def _constant(number: float) -> Callable[[Tensor], object]:
    return lambda value: value.fill_(number)
