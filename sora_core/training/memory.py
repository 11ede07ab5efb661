"""How much memory a worker will need, before it needs any: one step is computed with tensors that have no numbers."""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sora_core import precision
from sora_core.dit.blocks import Block
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, Pack, pack
from sora_core.nn.attention import fused_attention
from sora_core.shapes import LatentShape
from sora_core.training.optim import Optimizers, OptimRules
from sora_core.training.parallel import Layout

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes of one worker: what stays from step to step, and the most that a step needs besides.

    ``gathered`` are the whole weights and gradients that pass through where weights lie in shards; ``activations`` the
    peak of a forward and backward of one pack, ``update`` that of the optimisers, which don't meet; ``snapshot`` the
    copy that a checkpoint is written from, where it lies in the same memory, ``host`` where it lies in the machine's;
    ``samples`` the second model that the first worker makes samples with while it trains.
    """

    weights: float
    gradients: float
    optimizer: float
    average: float
    gathered: float
    activations: float
    update: float
    snapshot: float
    host: float
    samples: float = 0.0

    @property
    def total(self) -> float:
        """The peak."""
        lasting = self.weights + self.gradients + self.optimizer + self.average + self.snapshot + self.samples
        return lasting + max(self.gathered + self.activations, self.update)

    def __str__(self) -> str:
        names = (item.name for item in fields(self) if item.name != "host")
        parts = ", ".join(f"{name} {getattr(self, name) / GIB:.2f}" for name in names)
        beside = f" and {self.host / GIB:.2f} GiB of the machine's own for checkpoints" if self.host else ""
        return f"{self.total / GIB:.2f} GiB a worker ({parts}){beside}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A full pack: latents of these shapes, each with so many text states; ``accelerator`` is what they run on."""

    shapes: tuple[LatentShape, ...]
    text_tokens: int
    precision: torch.dtype
    checkpointing: bool
    accelerator: bool


@dataclass(frozen=True, slots=True)
class _Measured:
    """Bytes of a model with so many layers, in one worker; ``forward`` and ``backward`` are peaks of activations."""

    weights: float
    learning: float
    optimizer: float
    update: float
    forward: float
    backward: float

    def with_layers(self, more: "_Measured", count: int) -> "_Measured":
        """The same of a model with ``count`` more layers than this, when ``more`` has one more."""
        pairs = ((getattr(self, item.name), getattr(more, item.name)) for item in fields(self))
        return _Measured(*(one + count * (two - one) for one, two in pairs))


def needs(dit: DiTConfig, rules: OptimRules, workload: Workload, layout: Layout) -> Needs:
    """What a worker needs to train a model. Everything grows linearly with its layers, so two small models tell."""
    shards = layout.shards
    two, three = (_measure(replace(dit, num_layers=layers), rules, workload, sharded=shards > 1) for layers in (2, 3))
    whole = two.with_layers(three, dit.num_layers - 2)
    average = whole.learning / shards
    copied = ((whole.weights + whole.optimizer) / shards + average) / layout.replicas + average * (shards == 1)
    return Needs(
        weights=whole.weights / shards,
        gradients=whole.learning / shards,
        optimizer=whole.optimizer / shards,
        average=average,
        gathered=_gathered(two, three, workload.precision) if shards > 1 else 0.0,
        activations=max(whole.forward, whole.backward) / layout.context,
        update=whole.update / shards,
        snapshot=0.0 if workload.accelerator else copied,
        host=copied if workload.accelerator else 0.0,
    )


def _gathered(two: _Measured, three: _Measured, precision: torch.dtype) -> float:
    """Whole weights and gradients of two blocks, one that computes and one on its way, and of all outside blocks."""
    block = three.weights - two.weights
    outside = two.weights - 2 * block
    return 2 * 2 * block * precision.itemsize / 4 + block + 2 * outside


def _measure(config: DiTConfig, rules: OptimRules, workload: Workload, *, sharded: bool) -> _Measured:
    """What one worker would hold of a small model, and the peaks of a step of it."""
    with FakeTensorMode():
        dit = DiT(config)
        dit.activation_checkpointing = workload.checkpointing
        learning = [parameter for parameter in dit.parameters() if parameter.requires_grad]
        for parameter in learning:
            parameter.grad = torch.zeros_like(parameter)
        optimizers = Optimizers(dit, rules, workload.precision)
        optimizers.step(0.0)
        with _Peak() as update:
            optimizers.step(0.0)
        weights, state = _bytes(dit.parameters()), _bytes(optimizers.state().values())
        _prepare(dit, workload, sharded=sharded)
        example = _pack(dit, workload)
        with _Peak() as peak:
            with precision.autocast("cpu", workload.precision):
                predicted = dit(example)
            forward = peak.restart()
            predicted.float().square().sum().backward()
        return _Measured(weights, _bytes(learning), state, update.bytes, forward, peak.bytes)


def _prepare(dit: DiT, workload: Workload, *, sharded: bool) -> None:
    """Let blocks compute as they will: by fused kernels, and on weights that arrive rounded where they are sharded."""
    for block in dit.blocks:
        assert isinstance(block, Block)
        if workload.accelerator:
            block.attn1.attend = block.attn2.attend = fused_attention
        if not sharded:
            continue
        for part in (block.attn1, block.attn2, block.ffn):
            for module in part.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    setattr(module, name, nn.Parameter(parameter.detach().to(workload.precision)))


def _pack(dit: DiT, workload: Workload) -> Pack:
    clips = [
        Clip(torch.zeros(shape.as_tuple()), 0.5, torch.zeros(workload.text_tokens, dit.config.text_dim))
        for shape in workload.shapes
    ]
    return pack(clips, dit.config.patch)


def _bytes(tensors: Iterable[Tensor]) -> float:
    return float(sum(value.numel() * value.element_size() for value in tensors))


class _Peak(TorchDispatchMode):
    """The most bytes that tensors made meanwhile held at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self._live = 0.0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {item.untyped_storage()._cdata for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)}
        out = func(*args, **(kwargs or {}))
        for item in tree_leaves(out):
            if isinstance(item, Tensor):
                self._note(item.untyped_storage(), given)
        return out

    def restart(self) -> float:
        """The peak so far; the next begins at what is held now."""
        peak, self.bytes = self.bytes, self._live
        return peak

    def _note(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key = storage._cdata
        if key in self._known or key in given:
            return
        self._known.add(key)
        self._live += storage.nbytes()
        self.bytes = max(self.bytes, self._live)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size
