"""Scenes straight to a curated folder: rendered and encoded, with no file in between and nothing to judge."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import torch

from jobs.progress import counted
from jobs.world.config import WorldConfig
from sora_core import precision, shards, storage
from sora_core.errors import ConfigError
from sora_core.pipeline.frames import to_video
from sora_core.shards import Encoder, Manifest, Provenance, Row, Shard, Totals
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.vae.whitening import WhiteningStatistics
from sora_core.world.render import render
from sora_core.world.scene import Scene
from sora_core.world.words import caption

logger = logging.getLogger(__name__)

LICENCE = "CC0-1.0"
_PER_SHARD = 512
_PER_BATCH_PIXELS = 1 << 18
_ENCODE_VERSION = 1


def write_latents(config: WorldConfig, scenes: Sequence[Scene]) -> None:
    """Encode all scenes. ConfigError when ``output`` holds a curated folder already."""
    if storage.exists(storage.join(config.output, "manifest.json")):
        raise ConfigError(f"output = {config.output}: holds a curated folder; delete it or choose another")
    vae = VideoAutoencoder.load(dtype=precision.fast_dtype("cpu"))
    text = TextEncoder.load()
    statistics = WhiteningStatistics()
    written: list[Shard] = []
    clips = frames = values = 0
    starts = range(0, len(scenes), _PER_SHARD)
    for first in counted(starts, len(starts), "world", "shards"):
        rows = list(_rows(config, scenes[first : first + _PER_SHARD], first, vae, text))
        for row in rows:
            if row.split == "train":
                statistics.update(torch.from_numpy(row.latent_mean.astype(np.float32)))
        written.append(shards.write_shard(rows, config.output, f"latents/{first:06d}.parquet"))
        clips, frames = clips + len(rows), frames + sum(row.pixels.frames for row in rows)
        values += sum(row.latent_mean.size for row in rows)
    whitening = statistics.result()
    [null] = text.encode([""])
    manifest = Manifest(
        vae=Encoder(vae.source, vae.fingerprint),
        text_encoder=Encoder(text.source, text.fingerprint),
        compression=vae.compression,
        channels=vae.channels,
        text_dim=text.dim,
        whitening_mean=whitening.mean,
        whitening_std=whitening.std,
        null_text=tuple(tuple(state) for state in null.tolist()),
        shards=tuple(written),
        totals=Totals(clips, frames, frames / config.fps, values),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config.model_dump(mode="json"),
    )
    shards.write_manifest(manifest, config.output)
    logger.info("%s: latents of %d clips", config.output, clips)


def _rows(
    config: WorldConfig, scenes: Sequence[Scene], first: int, vae: VideoAutoencoder, text: TextEncoder
) -> Iterator[Row]:
    """A row for each scene; those of one shape are encoded together."""
    alike = defaultdict(list)
    for number, scene in enumerate(scenes, start=first):
        alike[scene.size].append((number, scene))
    for size, members in alike.items():
        at_once = max(1, _PER_BATCH_PIXELS // (size.frames * size.height * size.width))
        for start in range(0, len(members), at_once):
            together = members[start : start + at_once]
            videos = torch.stack([to_video(render(scene)) for _, scene in together])
            posterior = vae.encode(videos)
            captions = [caption(scene.attributes, scene.wording) for _, scene in together]
            states = text.encode(captions)
            for place, (number, scene) in enumerate(together):
                yield Row(
                    clip_id=f"world-{config.seed}-{number:06d}",
                    uri=f"world:{config.seed}/{number:06d}",
                    etag=str(scene.seed),
                    start_s=0.0,
                    end_s=size.frames / config.fps,
                    fps=config.fps,
                    pixels=size,
                    split="val" if number % config.val_every == 0 else "train",
                    caption=captions[place],
                    licence=LICENCE,
                    made=_made(scene, vae, text),
                    latent_mean=posterior.mean[place].half().numpy(),
                    latent_std=posterior.std[place].half().numpy(),
                    text=states[place].half().numpy(),
                )


def _made(scene: Scene, vae: VideoAutoencoder, text: TextEncoder) -> Provenance:
    size = scene.size
    return Provenance(
        size.height,
        size.width,
        0,
        0,
        vae.fingerprint,
        precision.fast("cpu"),
        text.fingerprint,
        "world",
        "world",
        _ENCODE_VERSION,
    )
