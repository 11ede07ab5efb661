"""Small random Wan models in the layout of the published pipelines."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import save_wan
from sora_core.dit.model import DiT
from sora_core.vae.folder import new_model

from .umt5 import DIM, write_umt5

CHANNELS = 4
VAE = {
    "base_dim": 8,
    "z_dim": CHANNELS,
    "dim_mult": [1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
}
DIT: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "ffn_dim": 32,
    "num_layers": 2,
}


def random_dit(**changes: Any) -> DiT:
    dit = DiT(DiTConfig(**(DIT | changes)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return dit


def write_wan(folder: Path, num_shown: int = 0, **changes: Any) -> Path:
    """A pipeline folder whose transformer sees so many frames beside the noise, with their image tokens; ``changes``
    are of its index."""
    write_umt5(folder)
    beside = _write_image_encoder(folder, num_shown) if num_shown else {}
    save_wan(random_dit(text_dim=DIM, text_padding_len=512, **beside), folder / "transformer")
    torch.manual_seed(0)
    statistics = {"latents_mean": [0.2] * CHANNELS, "latents_std": [0.7] * CHANNELS}
    new_model(**VAE, **statistics).save_pretrained(folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text('{"flow_shift": 5.0}')
    kind = "WanImageToVideoPipeline" if num_shown else "WanPipeline"
    index = {"_class_name": kind, "expand_timesteps": not num_shown, "boundary_ratio": None} | changes
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _write_image_encoder(folder: Path, num_shown: int) -> dict[str, Any]:
    """Leaves ``image_encoder/`` and ``image_processor/``; what of the transformer goes with them."""
    tiny = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(image_size=16, patch_size=8, **tiny)).save_pretrained(folder / "image_encoder")
    scaled = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    scaled.save_pretrained(folder / "image_processor")
    positions = None if num_shown == 1 else num_shown * 5
    image = {"image_dim": 8, "added_kv_proj_dim": 32, "pos_embed_seq_len": positions}
    return {"in_channels": 2 * CHANNELS + 4, **image}
