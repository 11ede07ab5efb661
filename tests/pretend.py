"""A pretend accelerator: computes on the CPU, refuses what a GPU would refuse, and notes what a host would wait for.

Its tensors hold real numbers, so whatever runs on it must come to what the CPU comes to. What it can't show is how fast
kernels are, what they round, and anything behind `torch.cuda`: those are for the tests marked ``gpu``.
"""

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
HOUSE = Path(__file__).parents[1]

aten = torch.ops.aten

# Their results have a shape that only the values tell, or are values: the host waits for all that was launched before.
ASKS = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal",
    "is_nonzero", "bincount",
}  # fmt: skip


class _Module(backend_registration._DummyBackendModule):
    def is_available(self) -> bool:
        return False

    def device_count(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []


class _Hook(torch._C._acc.PrivateUse1Hooks):
    """Tells everybody else that there is no such device."""

    def is_available(self) -> bool:
        return False

    def has_primary_context(self, _index: int) -> bool:
        return False

    def is_built(self) -> bool:
        return False


# When this is imported, for torch counts the devices at the first backward of a process.
backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module(), hook=_Hook())
DEVICE = torch.device(NAME, 0)


class LeftOnTheCpu(AssertionError):
    """An operation of a tensor of the device with one that was left behind."""


class PretendTensor(torch.Tensor):
    """A tensor of the device; ``held`` are its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "PretendTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PretendTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        raise AssertionError(f"{func} outside of a Pretend()")


class Pretend(TorchDispatchMode):
    """The device is there inside. ``waits`` are the places where the host waited for it, ``reads`` those where it asked
    for numbers that it takes later, ``num_kernels`` what was launched."""

    def __init__(self) -> None:
        self.device = DEVICE
        self._pinned: dict[int, torch.Tensor] = {}
        self.forget()
        super().__init__()

    def forget(self) -> None:
        """Begin to count anew."""
        self.waits: list[str] = []
        self.reads: list[str] = []
        self.num_kernels = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name, leaves = func.overloadpacket.__name__, tree_leaves((args, kwargs))
        ours = any(isinstance(leaf, PretendTensor) for leaf in leaves)
        to = kwargs.get("device")
        if name == "_pin_memory":
            pinned = args[0].clone()
            self._pinned[pinned.untyped_storage().data_ptr()] = pinned
            return pinned
        if name == "is_pinned":
            return self._is_pinned(args[0])
        if isinstance(to, torch.device) and to.type == NAME:
            if not ours and name in ("_to_copy",):
                self._up(args[0], kwargs.get("non_blocking", False), name)
            kwargs["device"] = torch.device("cpu")
            return _wrap(func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs)))
        if not ours:
            return func(*args, **kwargs)
        self._note(name, args, kwargs, leaves)
        out = func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
        if isinstance(to, torch.device):
            return out
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrap, out))

    def _note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], leaves: Sequence[Any]) -> None:
        self.num_kernels += 1
        behind = [x for x in leaves if isinstance(x, torch.Tensor) and not isinstance(x, PretendTensor) and x.ndim]
        if name == "copy_":
            target, source = args[:2]
            if not isinstance(target, PretendTensor):
                self.waits.append(_where(name))
            elif behind:
                self._up(source, args[2] if len(args) > 2 else kwargs.get("non_blocking", False), name)
        elif isinstance(kwargs.get("device"), torch.device):
            (self.reads if kwargs.get("non_blocking") else self.waits).append(_where(name))
        elif name in ASKS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.waits.append(_where(name))
        elif behind:
            raise LeftOnTheCpu(f"{name} of a tensor on the device with one of {tuple(behind[0].shape)} on the CPU")
        elif name in ("index", "index_put_", "index_put") and any(
            isinstance(at, torch.Tensor) and at.dtype == torch.bool for at in args[1]
        ):
            self.waits.append(_where(name))

    def _up(self, source: torch.Tensor, non_blocking: bool, name: str) -> None:
        if not (non_blocking and self._is_pinned(source)):
            self.waits.append(_where(f"{name} of {tuple(source.shape)} to the device"))

    def _is_pinned(self, value: torch.Tensor) -> bool:
        return value.untyped_storage().data_ptr() in self._pinned


def _unwrap(value: Any) -> Any:
    return value.held if isinstance(value, PretendTensor) else value


def _wrap(value: Any) -> Any:
    return PretendTensor(value) if type(value) is torch.Tensor else value


def _where(what: str) -> str:
    """The line of the house that an operation came from."""
    for frame in reversed(traceback.extract_stack(sys._getframe(1))):
        path = Path(frame.filename)
        if path.is_relative_to(HOUSE / "sora_core") or path.is_relative_to(HOUSE / "jobs"):
            return f"{path.relative_to(HOUSE)}:{frame.lineno} {what} ({frame.line})"
    return what
