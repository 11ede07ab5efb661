"""A small curated folder of random latents, as curation would leave it, and a small run over it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pytest

from jobs.train.config import TrainConfig
from sora_core import shards
from sora_core.shapes import Compression, LatentShape
from sora_core.shards import Encoder, Manifest, Provenance, Row, Totals
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder

CHANNELS, TEXT_DIM = 4, 8
SIDES = ((1, 4, 4), (2, 4, 4), (3, 4, 6))


SMALL: dict[str, Any] = {
    "steps": 12,
    "checkpoint_every": 4,
    "pack_tokens": 64,
    "validation": {"every": 6},
    "samples": {"count": 0},
    "log_every_s": 0.5,
    "model": {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8, "ffn_dim": 32},
    "optimizer": {"warmup_clips": 10},
}
"""What makes a run small enough for a test."""


class Curated(Protocol):
    """Writes a curated folder."""

    def __call__(
        self,
        uri: str,
        *,
        clips: int = 24,
        vae: str = "vae-1",
        num_val: int = 4,
        encoders: tuple[VideoAutoencoder, TextEncoder] | None = None,
        spoilt: int | None = None,
        per_file: int = 1,
        captions: tuple[str, ...] = (),
    ) -> Manifest: ...


@pytest.fixture
def curated() -> Curated:
    """Writes shards and a manifest of ``clips`` random clips, the first ``num_val`` of them for validation."""
    return write


@pytest.fixture
def small() -> dict[str, Any]:
    """What makes a run small enough for a test."""
    return SMALL


@pytest.fixture
def small_run(tmp_path, curated):  # type: ignore[no-untyped-def]
    """The config of a small run over a curated folder, both in a temporary folder."""
    curated(str(tmp_path / "data"))
    return TrainConfig.model_validate({"data": str(tmp_path / "data"), "output": str(tmp_path / "run"), **SMALL})


def write(
    uri: str,
    *,
    clips: int = 24,
    vae: str = "vae-1",
    num_val: int = 4,
    encoders: tuple[VideoAutoencoder, TextEncoder] | None = None,
    spoilt: int | None = None,
    per_file: int = 1,
    captions: tuple[str, ...] = (),
) -> Manifest:
    """Small latents for no model in particular, or of the widths of real ``encoders``."""
    channels, text_dim = (encoders[0].channels, encoders[1].dim) if encoders else (CHANNELS, TEXT_DIM)
    rows = [
        _row(number, "val" if number < num_val else "train", channels, text_dim, f"{number // per_file}.mp4")
        for number in range(clips)
    ]
    rows = [
        replace(row, caption=captions[number % len(captions)]) if captions else row for number, row in enumerate(rows)
    ]
    if spoilt is not None:
        rows[spoilt].latent_mean[:] = np.nan
    half = max(1, clips // 2)
    written = [
        shards.write_shard(part, uri, f"latents/{start}.parquet")
        for start in range(0, clips, half)
        if (part := rows[start : start + half])
    ]
    manifest = Manifest(
        vae=Encoder(encoders[0].source, encoders[0].fingerprint) if encoders else Encoder("tiny", vae),
        text_encoder=(Encoder(encoders[1].source, encoders[1].fingerprint) if encoders else Encoder("tiny", "text-1")),
        compression=Compression(),
        channels=channels,
        text_dim=text_dim,
        whitening_mean=(0.0,) * channels,
        whitening_std=(1.0,) * channels,
        null_text=((0.0,) * text_dim,) * 2,
        shards=tuple(written),
        totals=Totals(clips=clips),
        created_at=datetime.now(UTC).isoformat(),
    )
    shards.write_manifest(manifest, uri)
    return manifest


def _row(number: int, split: str, channels: int, text_dim: int, file: str) -> Row:
    rng = np.random.default_rng(number)
    shape = LatentShape(channels, *SIDES[number % len(SIDES)])
    mean = rng.normal(size=shape.as_tuple()).astype(np.float16)
    pixels = Compression().pixels(shape)
    return Row(
        clip_id=f"clip-{number}",
        uri=f"s3://footage/{file}",
        etag="e",
        start_s=0.0,
        end_s=1.0,
        fps=8.0,
        pixels=pixels,
        split="val" if split == "val" else "train",
        caption=f"clip number {number}",
        licence="CC0-1.0" if number % 2 else None,
        made=Provenance(pixels.height, pixels.width, 1, 0, "vae-1", "float32", "text-1", "table", "filters-1", 1),
        latent_mean=mean,
        latent_std=np.full(shape.as_tuple(), 0.1, np.float16),
        text=rng.normal(size=(3, text_dim)).astype(np.float16),
    )
