"""How long a training step waits for its data, from a local folder, an S3 server, and one that is far and narrow.

``python benchmarks/data_wait.py``. The data is larger than the cache, and the model so small that a step is short. Each
case trains in a process of its own; "one by one" reads with one thread, a step ahead; the small cache doesn't hold the
clips that are shuffled together. The server is real (SeaweedFS), the distance a proxy's, which counts what it lets
through.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slow_s3 import SlowS3

from jobs.demo.s3 import EmbeddedS3
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from sora_core import shards, storage
from sora_core.shapes import Compression, LatentShape
from sora_core.shards import Encoder, Manifest, Provenance, Row, Totals

CHANNELS, TEXT_DIM, TEXT_LEN = 16, 384, 24
LATENCY_S, BYTES_PER_S = 0.08, 16e6
SKIPPED_STEPS = 5


PACK_TOKENS, PACKS_PER_STEP = 640, 2
MEAN_TOKENS = 192  # of latents of 1, 3 and 5 frames of 16x16 in patches of 2x2


@dataclass(frozen=True)
class Case:
    name: str
    data: str
    endpoint: str | None
    settings: dict[str, Any]


def write(uri: str, clips: int) -> None:
    """Curated clips of random latents, as curation would leave them."""
    rng = np.random.default_rng(0)
    shapes = [LatentShape(CHANNELS, frames, 16, 16) for frames in (1, 3, 5)]

    def row(number: int) -> Row:
        shape = shapes[number % len(shapes)]
        pixels = Compression().pixels(shape)
        mean = rng.normal(size=shape.as_tuple()).astype(np.float16)
        text = rng.normal(size=(TEXT_LEN, TEXT_DIM)).astype(np.float16)
        made = Provenance(pixels.height, pixels.width, 0, 0, "vae", "float32", "text", "table", "filters", 1)
        return Row(
            f"clip-{number}", "u", "e", 0.0, 1.0, 8.0, pixels, "train", "c", None, made, mean, np.abs(mean) / 10, text
        )

    written = [
        shards.write_shard([row(number) for number in range(start, min(start + 250, clips))], uri, f"latents/{start}")
        for start in range(0, clips, 250)
    ]
    manifest = Manifest(
        Encoder("v", "v"), Encoder("t", "t"), Compression(), CHANNELS, TEXT_DIM, (0.0,) * CHANNELS, (1.0,) * CHANNELS,
        ((0.0,) * TEXT_DIM,), tuple(written), Totals(clips), datetime.now(UTC).isoformat(),
    )  # fmt: skip
    shards.write_manifest(manifest, uri)


def run(case: Case, steps: int) -> dict[str, float]:
    """Train, and say how it went."""
    if case.endpoint is not None:
        os.environ["AWS_ENDPOINT_URL"] = case.endpoint
    with tempfile.TemporaryDirectory() as output:
        config = TrainConfig.model_validate(
            {
                "data": case.data, "output": output, "steps": steps, "checkpoint_every": steps,
                "pack_tokens": PACK_TOKENS, "packs_per_step": PACKS_PER_STEP, "validation": {"clips": 0},
                "samples": {"count": 0}, "log_every_s": 1e9, "cache_bytes": 40 << 20, "shuffle_clips": 128,
                "model": {"num_layers": 1, "num_attention_heads": 2, "ffn_dim": 128}, **case.settings,
            }
        )  # fmt: skip
        train_steps(config, torch.device("cpu"), lambda _step, _loss: None)
        lines = list(read_lines(output).values())[SKIPPED_STEPS:]
    spent, waited = (sum(float(str(line[key])) for line in lines) for key in ("step_s", "data_wait_s"))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"step_ms": 1e3 * spent / len(lines), "wait": 100 * waited / spent, "peak_mib": peak_mib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1600)
    parser.add_argument("--steps", type=int, default=160)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedS3(Path(folder) / "s3") as server:
        os.environ |= server.credentials.environment()
        storage.create_bucket("s3://bench")
        local, remote = str(Path(folder) / "data"), "s3://bench/data"
        write(local, arguments.clips)
        storage.upload_folder(local, remote)
        size = sum(item.size for item in storage.list_objects(local))
        needed = arguments.steps * PACKS_PER_STEP * PACK_TOKENS / MEAN_TOKENS * (size / arguments.clips)
        print(
            f"{arguments.clips} clips, {size / 2**20:.0f} MiB; {arguments.steps} steps of "
            f"{PACKS_PER_STEP}x{PACK_TOKENS} tokens, {needed / 2**20:.0f} MiB; "
            f"far = {1e3 * LATENCY_S:.0f} ms a request, {BYTES_PER_S / 1e6:.0f} MB/s; load {os.getloadavg()[0]:.1f}"
        )
        print("                         step  data wait  fetched  peak memory")
        endpoint = server.credentials.endpoint
        with SlowS3(endpoint, 0.0, 1e12) as near, SlowS3(endpoint, LATENCY_S, BYTES_PER_S) as far:
            cases = [
                Case("folder", local, None, {}),
                Case("near S3", remote, near.endpoint, {}),
                Case("far S3", remote, far.endpoint, {}),
                Case("far S3, one by one", remote, far.endpoint, {"read_threads": 1, "prefetch_steps": 1}),
                Case("far S3, small cache", remote, far.endpoint, {"cache_bytes": 4 << 20}),
            ]
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                for case in cases:
                    before = near.num_bytes + far.num_bytes
                    found = pool.apply(run, (case, arguments.steps))
                    fetched = (near.num_bytes + far.num_bytes - before) / 2**20
                    print(
                        f"{case.name:20s} {found['step_ms']:6.0f} ms {found['wait']:8.2f} % {fetched:6.0f} MiB "
                        f"{found['peak_mib']:8.0f} MiB",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
