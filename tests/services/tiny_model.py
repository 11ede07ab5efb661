"""A whole checkpoint with random weights: every part real, small enough for a step of milliseconds."""

import torch

from sora_core import checkpoint
from sora_core.checkpoint import ChannelStatistics, DataSummary, Meta
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.shards import Encoder
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder

FPS = 8.0
MAX_TOKENS = 64  # of training; the pipeline makes up to four times as many


def save_tiny_checkpoint(
    run_uri: str,
    std: float = 0.05,
    max_tokens: int = MAX_TOKENS,
    given: tuple[str, ...] = ("first_frame",),
    **changes: int,
) -> str:
    """Write it as the first checkpoint of a run, its weights this large; the run's URI. ``changes`` are of the DiT."""
    torch.manual_seed(0)
    vae, text = VideoAutoencoder.load(), TextEncoder.load()
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64, "num_layers": 2} | changes
    config = DiTConfig(in_channels=vae.channels, out_channels=vae.channels, text_dim=text.dim, **sizes)
    dit = DiT(config)
    for parameter in dit.parameters():  # the output layer starts at zero, which would hide every other weight
        torch.nn.init.normal_(parameter, std=std)
    meta = Meta(
        step=1,
        dit=config.to_dict(),
        vae=Encoder(vae.source, vae.fingerprint),
        text_encoder=Encoder(text.source, text.fingerprint),
        whitening=ChannelStatistics((0.0,) * vae.channels, (1.0,) * vae.channels),
        compression=vae.compression,
        fps=FPS,
        max_tokens=max_tokens,
        given=given,
        shift=1.0,
        guidance_scale=3.0,
        base=None,
        git_revision=None,
        training={},
        data=DataSummary("", 0, 0.0, {}),
    )
    checkpoint.save_model(checkpoint.step_uri(run_uri, 1), dit.state_dict(), meta)
    return run_uri
