"""What the driver of a curation costs, by the clips of its corpus: a made-up ledger of any size, no footage.

``python -m benchmarks.curation_books OBJECTS CLIPS_EACH``: CPU seconds and the peak of the process's own memory after
each step of a run that has nothing to do. Ledger files hold a thousand objects. Files of latents are empty: nobody
opens them.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch

from jobs.curate.ask.survey import survey
from jobs.curate.books import account, ledger, removal, resume
from jobs.curate.books.parts import read_parts
from jobs.curate.books.stored import Stored, together
from jobs.curate.rows import SCORE_NAMES
from sora_core.shards import Shard, Totals
from sora_core.vae.whitening import WhiteningStatistics

T = TypeVar("T")
_PER_FILE = 1000


def write(output: str, objects: int, clips_each: int) -> None:
    """A ledger of so many objects, half of whose clips are kept."""
    random = np.random.default_rng(0)
    statistics = WhiteningStatistics()
    statistics.update(torch.randn(16, 2, 4, 4))
    (Path(output) / "latents").mkdir(parents=True)
    for first in range(0, objects, _PER_FILE):
        count = min(_PER_FILE, objects - first)
        name = f"part-{first:09d}"
        table = made_up(random, first, count, clips_each)
        kept = table.column("status").to_pylist().count("kept") - count
        shard = Shard(f"latents/{name}-0000.parquet", kept, 1, "0" * 64)
        (Path(output) / shard.path).touch()
        totals = Totals(kept, 9 * kept, float(kept), 1000 * kept)
        ledger.write_table(table, name, [Stored(shard, totals, {"train": statistics}, 1.0)], output)


def made_up(random: np.random.Generator, first: int, count: int, clips_each: int) -> pa.Table:
    """Rows of some objects, each before its clips."""
    number = np.repeat(np.arange(first, first + count), clips_each + 1)
    place = np.tile(np.arange(-1, clips_each), count)
    is_object = place < 0
    kept = is_object | (place % 2 == 0)
    text: dict[str, Any] = {
        "uri": [f"s3://bucket/footage/{i % 1000:03d}/film-{i:09d}.mp4" for i in number],
        "etag": [f"{i:032x}" for i in number],
        "clip_id": [None if j < 0 else f"{i:016x}{j:08x}" for i, j in zip(number, place, strict=True)],
        "status": ["kept" if is_kept else "dropped" for is_kept in kept],
        "reason": [None if is_kept else "too_dark" for is_kept in kept],
        "key": [f"{i:024x}" for i in number],
        "examine_key": [f"{i + 7:024x}" for i in number],
        "kind": ["video"] * len(number),
        "size_bytes": np.where(is_object, 10_000_000, 0),
        "seconds": np.where(is_object, 3.0, 0.0),
        "start_s": pa.array(place.astype(float), mask=is_object),
    }
    scores = {name: pa.array(random.random(len(number)), mask=is_object) for name in SCORE_NAMES}
    columns = text | scores
    arrays = [
        pa.array(columns[name], field.type) if name in columns else pa.nulls(len(number), field.type)
        for name, field in zip(ledger.LEDGER.names, ledger.LEDGER, strict=True)
    ]
    return pa.table(arrays, schema=ledger.LEDGER)


def step(name: str, work: Callable[[], T]) -> T:
    """Does some work, and prints what it took."""
    before = time.process_time()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"  {name:22}{time.process_time() - before:9.1f} s{peak:9.0f} MiB", flush=True)
    return result


def main(objects: int, clips_each: int, output: str) -> None:
    """A run that has nothing to do, step by step."""
    print(f"{objects} objects, {objects * clips_each} clips: CPU seconds, peak of memory so far")
    parts = step("read the ledger", lambda: read_parts(output))
    wanted = step(
        "the plan's keys",
        lambda: {
            uri: key for part in parts for uri, key in zip(part.uris, part.objects["key"].to_pylist(), strict=True)
        },
    )
    stored = resume.stored_names(output)
    standing = step("what is done", lambda: resume.stand(parts, wanted, stored))
    assert len(standing.done) == objects
    again = step("read it again", lambda: read_parts(output, parts))
    books = step("prove", lambda: account.prove(again, wanted.keys(), stored))
    assert books.clips.total() == objects * clips_each
    step("totals, whitening", lambda: together([file for part in again for file in part.stored]))
    step("survey for the report", lambda: survey(output, again))
    step("marks of removal", lambda: removal.mark(output, None, [shard for part in again for shard in part.shards]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sora-books-") as place:
        write(place, int(sys.argv[1]), int(sys.argv[2]))
        main(int(sys.argv[1]), int(sys.argv[2]), place)
