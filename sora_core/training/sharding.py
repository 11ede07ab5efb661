"""A model whose weights lie in shards: how it is cut, and how whole matrices meet for a moment."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from sora_core.dit.blocks import Block
from sora_core.dit.model import DiT


def shard(dit: DiT, mesh: DeviceMesh, precision: torch.dtype) -> FSDPModule:
    """Cut every parameter by rows over a mesh, (shard) or (replica, shard); a block is gathered when it computes.

    The products' weights travel in ``precision``, as autocast would round them; modulation tables, norms and embedders
    in float32, as would autocast leave them. Gradients travel and add up in float32.
    """
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    rounded = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in dit.blocks:
        assert isinstance(block, Block)
        fully_shard([block.attn1, block.attn2, block.ffn], mesh=mesh, mp_policy=rounded, reshard_after_forward=True)
        fully_shard(block, mesh=mesh, mp_policy=exact, reshard_after_forward=True)
    # Kept after a forward, the outermost weights would outlive a swap of the averages into their shards.
    sharded = fully_shard(dit, mesh=mesh, mp_policy=exact, reshard_after_forward=True)
    for module in dit.modules():
        if isinstance(module, FSDPModule):
            # The loss is divided by the clips of all workers, so gradients are added, not averaged.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return sharded


def local(value: Tensor) -> Tensor:
    """What this worker holds of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def shard_group(parameter: Tensor) -> dist.ProcessGroup | None:
    """The workers that hold a parameter together; None where each holds it whole."""
    if not isinstance(parameter, DTensor):
        return None
    return parameter.device_mesh.get_group("shard")


def gather_matrices(
    parts: Float[Tensor, "n part c"], rows: int, group: dist.ProcessGroup
) -> Float[Tensor, "share rows c"]:
    """From this worker's rows of ``n`` matrices to all rows of its share of them; both padded to equal counts."""
    size = group.size()
    per_worker = -(-rows // size)
    padded = F.pad(parts, (0, 0, 0, per_worker - parts.shape[1], 0, -len(parts) % size))
    received = torch.empty_like(padded)
    dist.all_to_all_single(received, padded, group=group)
    whole: Tensor = rearrange(received, "(size share) part c -> share (size part) c", size=size)
    return whole[:, :rows]


def scatter_matrices(
    whole: Float[Tensor, "share rows c"], like: Float[Tensor, "n part c"], group: dist.ProcessGroup
) -> Float[Tensor, "n part c"]:
    """The way back: this worker's rows of all matrices, as many as ``like`` has."""
    size = group.size()
    padded = F.pad(whole, (0, 0, 0, -whole.shape[1] % size))
    sent = rearrange(padded, "share (size part) c -> (size share) part c", size=size).contiguous()
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return received[: len(like), : like.shape[1]]
