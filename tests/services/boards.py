"""A curated set and a training run as curation and training leave them, small."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.curate.books.ledger import LEDGER, part_name, write_table
from sora_core import media, storage

from .editing import moving


def curated(folder: Path, parts: int = 2, clips: int = 3) -> str:
    """A ledger of parts: of each an object, its clips, the last of them dropped, and an object that failed."""
    for part in range(parts):
        rows = []
        for clip in range(clips):
            kept = clip < clips - 1
            rows.append(
                {
                    "uri": f"s3://raw/{part}.mp4", "etag": "e", "clip_id": f"{part}-{clip}",
                    "start_s": float(clip), "end_s": clip + 1.0, "status": "kept" if kept else "dropped",
                    "reason": None if kept else "too_dark",
                    "caption": f"a red block {clip} goes right", "licence": "CC0",
                    "fps": 8.0, "frames": 9, "width": 48, "height": 32, "sharpness": 0.5,
                    "preview": media.to_webp(list(moving(3)), max_side=48, fps=8) if clip == 0 else None,
                }
            )  # fmt: skip
        rows.append({"uri": f"s3://raw/{part}.mp4", "etag": "e", "status": "kept"})
        rows.append({"uri": f"s3://raw/{part}.txt", "etag": "e", "status": "failed", "reason": "unreadable_container"})
        table = pa.Table.from_pylist(rows, schema=LEDGER)
        write_table(table, part_name([str(part)]), (), str(folder))
    storage.write_bytes(f"{folder}/report.html", b"<!doctype html><title>Curation</title><script>alert(1)</script>")
    return str(folder)


def trained(folder: Path, steps: int = 20) -> str:
    """A run with a curve, and two checkpoints of which the newer has a sample."""
    lines = [{"step": step, "loss": 1 / step, "gradient_norm": 2.0, "rate": 1.0} for step in range(1, steps + 1)]
    lines[2]["loss"] = float("nan")
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    storage.write_bytes(f"{folder}/metrics/a.jsonl", text.encode())
    for step in (steps // 2, steps):
        storage.write_bytes(f"{folder}/checkpoints/step-{step}/meta.json", b"{}")
        storage.write_bytes(f"{folder}/checkpoints/step-{step}/README.md", f"# step {step}".encode())
        storage.write_bytes(f"{folder}/checkpoints/step-{step}/state/0.distcp", b"secret")
    storage.write_bytes(f"{folder}/checkpoints/step-99/README.md", b"half-written")
    place = Path(f"{folder}/checkpoints/step-{steps}/samples")
    place.mkdir()
    media.encode_mp4(place / "0.mp4", iter(np.asarray(moving())), 8)
    return str(folder)
