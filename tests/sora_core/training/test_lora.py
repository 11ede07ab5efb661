"""An adapter of ours is applied by diffusers as it is by us."""

from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.training import lora
from sora_core.training.lora import LoraRules
from tests.sora_core.dit.tiny import randomise

SIZES = {
    "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": 8,
    "ffn_dim": 16, "num_layers": 1,
}  # fmt: skip
RULES = LoraRules(2, 6.0, ("attn1.to_q", "attn2.to_v", "ffn.net.0.proj"))


def test_diffusers_applies_the_file_that_is_written_for_it(tmp_path: Path) -> None:
    dit = DiT(DiTConfig(**SIZES, text_padding_len=512))
    randomise(dit)
    plain = {name: value.detach().clone() for name, value in dit.state_dict().items()}
    lora.add_adapter(dit, RULES, seed=0)
    factors = {name: value for name, value in dit.named_parameters() if value.requires_grad}
    for number, value in enumerate(factors.values()):
        torch.nn.init.normal_(value, std=0.3, generator=torch.Generator().manual_seed(number))
    lora.save_adapter(tmp_path, RULES, factors)
    peer = WanTransformer3DModel(**SIZES)
    peer.load_state_dict(plain)
    peer.load_lora_adapter(load_file(tmp_path / "pytorch_lora_weights.safetensors"), prefix="transformer")
    peer.fuse_lora()
    fused = {name.replace(".base_layer.", "."): value for name, value in peer.state_dict().items()}
    for name, value in lora.merged_weights(dit, factors).items():
        torch.testing.assert_close(fused[name], value, rtol=1e-5, atol=1e-6)
        adapted = any(name == f"blocks.0.{target}.weight" for target in RULES.targets)
        assert torch.equal(value, plain[name]) != adapted
