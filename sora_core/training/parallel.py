"""How workers divide weights, packs and tokens, and the groups in which they talk.

``ddp``: each worker holds the whole model. ``fsdp``: all of them share one copy, gathered a block at a time (Zhao et
al. 2023; torch's ``fully_shard``). ``hsdp``: every ``shards`` neighbours share a copy. On top of any, ``context``
neighbours share the tokens of each pack (Jacobs et al. 2023, DeepSpeed Ulysses).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from sora_core.errors import ConfigError

T = TypeVar("T")

Mode = Literal["ddp", "fsdp", "hsdp"]


def rank_and_size() -> tuple[int, int]:
    """This worker's number and how many there are; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather(value: T) -> list[T]:
    """Everybody's value, by rank."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    values: list[T | None] = [None] * size
    dist.all_gather_object(values, value)
    return [item for item in values if item is not None]


def told_by_first(value: T) -> T:
    """The first worker's value, whatever the others give."""
    if rank_and_size()[1] == 1:
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


@dataclass(frozen=True, slots=True)
class Layout:
    """One worker's place among ``workers``: ``shards`` of them hold one copy of the weights, ``context`` one pack."""

    rank: int = 0
    workers: int = 1
    shards: int = 1
    context: int = 1

    @classmethod
    def of(cls, mode: Mode, rank: int, workers: int, shards: int | None, context: int) -> "Layout":
        """The layout of a mode. ConfigError when the workers can't be divided so."""
        per_copy = {"ddp": 1, "fsdp": workers, "hsdp": shards or 0}[mode]
        if mode == "hsdp" and shards is None:
            raise ConfigError('parallel = "hsdp" needs shards: how many workers hold one copy of the weights')
        if mode != "hsdp" and shards is not None:
            raise ConfigError(f'shards = {shards} goes with parallel = "hsdp" alone; parallel is "{mode}"')
        for name, part in (("shards", per_copy), ("context_parallel", context)):
            if workers % part:
                raise ConfigError(f"{name} = {part} doesn't divide {workers} workers: choose a divisor of num_workers")
        return cls(rank, workers, per_copy, context)

    def __str__(self) -> str:
        shared = f", each copy of the weights in {self.shards}" if self.shards > 1 else ""
        split = f", each pack over {self.context}" if self.context > 1 else ""
        return f"{self.workers} workers{shared}{split}"

    @property
    def replicas(self) -> int:
        """How many copies of the weights there are."""
        return self.workers // self.shards

    @property
    def replica(self) -> int:
        """The copy that this worker has a part of."""
        return self.rank // self.shards

    @property
    def data_workers(self) -> int:
        """How many groups of workers train on packs of their own."""
        return self.workers // self.context

    @property
    def data_rank(self) -> int:
        """The group that this worker is in."""
        return self.rank // self.context


@dataclass(frozen=True, slots=True)
class Workers:
    """A layout come to life. ``weights`` is the mesh (replicas, shards) of sharded weights, None where they are whole;
    ``tokens`` the group that shares a pack; ``background`` carries what is said while training talks."""

    layout: Layout = Layout()
    weights: DeviceMesh | None = None
    tokens: dist.ProcessGroup | None = None
    background: dist.ProcessGroup | None = None

    @classmethod
    def join(cls, layout: Layout, device: torch.device) -> "Workers":
        """The groups of all workers; every one of them calls this at the same time."""
        if not dist.is_initialized():
            return cls(layout)
        weights = tokens = None
        if layout.shards > 1:
            sides = (layout.replicas, layout.shards)
            weights = init_device_mesh(device.type, sides, mesh_dim_names=("replica", "shard"))
            if layout.replicas == 1:
                weights = weights["shard"]
        if layout.context > 1:
            sides = (layout.data_workers, layout.context)
            tokens = init_device_mesh(device.type, sides, mesh_dim_names=("data", "context")).get_group("context")
        return cls(layout, weights, tokens, dist.new_group(backend="gloo"))

    @property
    def context_rank(self) -> int:
        """Which part of each pack's tokens this worker computes."""
        return self.layout.rank % self.layout.context

    def in_step(self, items: Iterable[T]) -> Iterator[T | None]:
        """The items; then None as long as another worker has some left, where a forward takes all workers."""
        if self.weights is None:
            yield from items
            return
        waiting = iter(items)
        while True:
            item = next(waiting, None)
            if not any(gather(item is not None)):
                return
            yield item


ALONE = Workers()
"""One worker that holds everything."""
