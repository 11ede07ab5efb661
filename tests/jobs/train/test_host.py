"""A snapshot holds the numbers of its moment, on the CPU, whatever the device does next."""

from pathlib import Path

import pytest
import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from jobs.train import host, parts, state
from jobs.train.state import Snapshot
from sora_core import checkpoint, storage
from sora_core.training.draws import draw_step
from sora_core.training.parallel import rank_and_size
from sora_core.training.plan import Position
from tests.groups import run
from tests.sora_core.training.test_trainer import DRAWS, planned_steps, slots, trainer


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_snapshot_is_of_the_moment_it_was_taken_at(device: str, tmp_path: Path) -> None:
    subject = trainer(device=torch.device(device))
    first, second, third = planned_steps(3)
    subject.step(first, slots(first), draw_step(DRAWS, first.step, first.num_clips))
    subject.step(second, slots(second), draw_step(DRAWS, second.step, second.num_clips))
    live = {name: value.detach().cpu().clone() for name, value in state._tensors(subject).items()}
    snapshot = Snapshot.take(subject, Position())
    subject.step(third, slots(third), draw_step(DRAWS, third.step, third.num_clips))
    snapshot.wait()
    assert snapshot.tensors.keys() == live.keys()
    assert all(torch.equal(value, live[name]) for name, value in snapshot.tensors.items())
    assert {value.device.type for value in snapshot.tensors.values()} == {"cpu"}
    moved = state._tensors(subject)
    assert not torch.equal(live["model.proj_out.weight"], moved["model.proj_out.weight"].cpu())


def _store_from_a_mesh_of_gpus(uri: str) -> None:
    """Each worker's rows, cut over a mesh whose tensors lie elsewhere."""
    rank, size = rank_and_size()
    mesh = DeviceMesh("cuda", torch.arange(size), mesh_dim_names=("shard",), _init_backend=False)
    assert host.host_mesh(mesh).device_type == "cpu"
    whole = torch.arange(20.0).view(5, 4)
    mine = whole.chunk(size)[rank]
    copied = DTensor.from_local(
        mine, host.host_mesh(mesh), [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride()
    )
    assert copied.to_local().device.type == "cpu"
    group = torch.distributed.new_group(backend="gloo")
    parts.write(uri, {"w": copied}, group)
    live = DTensor.from_local(
        torch.zeros_like(mine), init_device_mesh("cpu", (size,)), [Shard(0)], run_check=False,
        shape=whole.shape, stride=whole.stride(),
    )  # fmt: skip
    parts.read(uri, {"w": live}, group)
    assert torch.equal(live.to_local(), mine)


def test_shards_of_a_mesh_of_gpus_are_stored_from_the_cpu(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), checkpoint.STATE)
    run(2, _store_from_a_mesh_of_gpus, uri)
    whole = {"w": torch.zeros(5, 4)}
    parts.read(uri, whole, None)
    assert torch.equal(whole["w"], torch.arange(20.0).view(5, 4))
