"""First weights that no worker ever holds whole are those that a whole model would begin with."""

from typing import Any

import pytest
import torch

from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.training.fill import Drawn, fill
from sora_core.training.memory import _Peak

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pooled text": {"pooled_text": True},
    "image tokens": {"image_dim": 7, "added_kv_proj_dim": 48},
    "no cross norm": {"cross_attn_norm": False},
}


def config(**changes: Any) -> DiTConfig:
    sizes: dict[str, Any] = {
        "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "out_channels": 4, "text_dim": 8,
        "ffn_dim": 96, "num_layers": 4,
    }  # fmt: skip
    return DiTConfig(**sizes | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_drawn_one_at_a_time_are_those_of_a_whole_model(kind: str) -> None:
    before = torch.get_rng_state()
    drawn = Drawn(lambda: DiT(config(**KINDS[kind])), seed=7)
    assert all(value.is_meta for value in drawn.model.parameters())
    rows = {name: drawn.rows(name, slice(0, len(value))) for name, value in drawn.model.named_parameters()}
    assert torch.equal(torch.get_rng_state(), before), "nobody else's draws change"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        whole = DiT(config(**KINDS[kind]))
    assert all(torch.equal(rows[name], value) for name, value in whole.named_parameters())
    assert torch.equal(drawn.rows("blocks.1.ffn.net.2.weight", slice(3, 9)), rows["blocks.1.ffn.net.2.weight"][3:9])


def test_filling_takes_the_memory_of_one_weight() -> None:
    drawn = Drawn(lambda: DiT(config()), seed=0)
    model = drawn.model.to_empty(device="cpu")
    with _Peak() as peak:
        fill(model, drawn.rows)
    largest = max(value.nbytes for value in model.parameters())
    assert peak.bytes < 2 * largest + 2**16  # and of the generator's state
    assert peak.bytes < 0.3 * sum(value.nbytes for value in model.parameters())
