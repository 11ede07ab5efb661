"""A bucket of many small objects: how long listing and planning take, and in how much memory.

``python benchmarks/listing.py [--objects 100000]`` fills a real S3 server first, which takes most of the time.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan, parts
from jobs.demo.s3 import EmbeddedS3
from jobs.launch import load_config
from sora_core import storage

_THREADS = 16


def fill(num_objects: int) -> None:
    """Tiny objects with names of footage, a caption beside every tenth."""

    def put(number: int) -> None:
        uri = f"s3://many/footage/{number // 1000:04}/clip-{number:07}.mp4"
        storage.write_bytes(uri, str(number).encode())
        if number % 10 == 0:
            storage.write_bytes(uri + ".txt", b"words")

    storage.create_bucket("s3://many")
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(put, range(num_objects), chunksize=64):
            pass


def peak_mib() -> float:
    """Of this process alone: getrusage's peak is inherited from the parent."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def measure(config: CurateConfig) -> None:
    """Print the table's one row."""
    before, started = peak_mib(), time.monotonic()
    listed = sum(1 for _ in storage.list_objects(config.source))
    listed_s, listing_mib = time.monotonic() - started, peak_mib() - before
    started = time.monotonic()
    plan = make_plan(config, {})
    work = list(parts(plan.sources, config.sources_per_part, config.bytes_per_part))
    planned_s = time.monotonic() - started
    print(
        f"{listed} objects: listed in {listed_s:.1f} s ({listed / listed_s:.0f}/s, {listing_mib:.0f} MiB more), listed "
        f"and planned in {planned_s:.1f} s: {len(plan.sources)} sources in {len(work)} parts, "
        f"{peak_mib() - before:.0f} MiB more ({(peak_mib() - before) * 2**20 / listed:.0f} bytes an object)"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--objects", type=int, default=100_000)
    num_objects = arguments.parse_args().objects
    with tempfile.TemporaryDirectory() as folder, EmbeddedS3(Path(folder)) as server:
        os.environ.update(server.credentials.environment())
        started = time.monotonic()
        fill(num_objects)
        print(f"filled in {time.monotonic() - started:.0f} s")
        config = load_config("curate", CurateConfig, ["--set", "source=s3://many/footage", "output=s3://many/out"])
        measuring = get_context("spawn").Process(target=measure, args=(config,))  # filling has had a peak of its own
        measuring.start()
        measuring.join()


if __name__ == "__main__":
    main()
