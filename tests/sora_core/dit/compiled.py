"""Runs three packs of different shapes through compiled blocks; prints errors against eager and graphs compiled so far.

Blocks are traced, differentiated and cut at attention as for any backend; only the code generator is left out.
"""

import json

import torch
from torch._dynamo.utils import counters

from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack


def main() -> None:
    torch.manual_seed(0)
    dit = DiT(
        DiTConfig(
            num_attention_heads=2,
            attention_head_dim=24,
            in_channels=4,
            out_channels=4,
            text_dim=12,
            ffn_dim=40,
            num_layers=2,
        )
    )
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mixes = [[(3, 4, 6), (1, 8, 4)], [(2, 6, 6), (3, 4, 4), (1, 4, 4)], [(5, 4, 6), (1, 2, 4), (2, 4, 4), (3, 4, 8)]]
    packs = [
        pack([Clip(torch.randn(4, *shape), 0.2 + 0.2 * i, torch.randn(3 + i, 12)) for i, shape in enumerate(mix)])
        for mix in mixes
    ]
    wanted = [dit(packed).detach() for packed in packs]
    dit.compile_blocks(backend="aot_eager")
    errors, graphs = [], []
    for packed, expected in zip(packs, wanted, strict=True):
        errors.append(((dit(packed) - expected).norm() / expected.norm()).item())
        graphs.append(counters["stats"]["unique_graphs"])
    print(json.dumps([errors, graphs]))


if __name__ == "__main__":
    main()
