"""Copies of a device's tensors in the host's memory, taken while the device goes on."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor


def copy(values: Mapping[str, Tensor], device: torch.device) -> tuple[dict[str, Tensor], Callable[[], None]]:
    """Copies of ``values`` as they are now, and what waits until they have arrived.

    A GPU copies into pinned memory on a stream of its own: nobody waits here, but what is computed next does, for it
    may write into what is being copied.
    """
    if device.type != "cuda":
        return {name: _like(value, _copied(value)) for name, value in values.items()}, _arrived
    computing, copying = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    copying.wait_stream(computing)
    with torch.cuda.stream(copying):
        copies = {name: _like(value, _pinned(value)) for name, value in values.items()}
        arrival = copying.record_event()
    computing.wait_event(arrival)
    return copies, arrival.synchronize


def _arrived() -> None:
    """A copy that was waited for."""


def _held(value: Tensor) -> Tensor:
    value = value.detach()
    return value.to_local() if isinstance(value, DTensor) else value


def _copied(value: Tensor) -> Tensor:
    return _held(value).to("cpu", copy=True)


def _pinned(value: Tensor) -> Tensor:
    held = _held(value)
    return torch.empty_like(held, device="cpu", pin_memory=True).copy_(held, non_blocking=True)


def _like(value: Tensor, held: Tensor) -> Tensor:
    """What a worker holds, as its part of the whole where ``value`` lies in shards."""
    if not isinstance(value, DTensor):
        return held
    return DTensor.from_local(
        held, host_mesh(value.device_mesh), value.placements, run_check=False, shape=value.shape, stride=value.stride()
    )


def host_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """The same workers with tensors on the CPU; nobody talks over it. On the device's own mesh torch would put every
    tensor back on the device."""
    return DeviceMesh("cpu", mesh.mesh, mesh_dim_names=mesh.mesh_dim_names, _init_backend=False)
