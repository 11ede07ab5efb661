"""``export``: the kept clips as files that other tools read, each with its words; another autoencoder then needs no
footage.

``webdataset``: a tar for each part of the ledger, which holds ``ID.mp4`` (a photograph ``ID.png``), ``ID.txt`` and
``ID.json`` of each clip. ``folder``: the same files in a folder for each part, with a ``metadata.jsonl`` as `datasets`
reads them, which comes last; ``jobs.curate`` takes them as a source again. A part that is whole is not made again, so a
run that was ended goes on.
"""

import json
import logging
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray
from pydantic import Field
from ray.data import ActorPoolStrategy

from jobs.curate.books import ledger
from jobs.curate.books.parts import read_parts
from jobs.curate.config import Limits
from jobs.curate.pipeline import quiet_datasets
from jobs.curate.rows import Clip, Examined
from jobs.curate.stages.pixels import DECODER_KILLED, STORAGE_FAULTS, clips_pixels, decode_apart
from jobs.launch import JobConfig, ray_session
from jobs.progress import counted, say
from sora_core import media, storage
from sora_core.errors import MissingObject, StorageUnavailable
from sora_core.media import Isolated

logger = logging.getLogger(__name__)

WORDS = "metadata.jsonl"
_MAY_PASS = STORAGE_FAULTS | {DECODER_KILLED}


class ExportConfig(JobConfig, extra="ignore"):
    """What is exported; a whole curation config will do."""

    output: str
    """The curated folder."""
    form: Literal["webdataset", "folder"] = "webdataset"
    crf: int = Field(default=14, ge=0, le=51)
    """Of the H.264 that clips are written as: less is finer."""
    num_exporters: int = Field(default=2, ge=1)
    """Processes that decode and write, at most; each has a core."""
    limits: Limits = Limits()
    scratch_bytes: int | None = Field(default=None, ge=1)


def export(into: str, config: ExportConfig) -> None:
    """Write what isn't there yet under ``into``. MissingObject when nothing is curated, StorageUnavailable when some of
    the footage could not be read for a reason that may pass."""
    storage.check_readable(config.output)
    storage.check_writable(into)
    names = [part.name for part in read_parts(config.output) if any(status == "kept" for status, _ in part.of_clips)]
    if not names:
        raise MissingObject(f"output = {config.output}: holds no curated clips; correct it, or curate first")
    due = [name for name in names if not storage.exists(_mark(into, name, config.form))]
    told = Counter[str]()
    if due:
        with ray_session(num_cpus=config.num_exporters):
            told.update(_on_actors(due, into, config))
    others = [(reason, count) for reason, count in sorted(told.items()) if reason not in ("kept", "late")]
    say(f"export: {told['kept']} clips of {len(due)} parts under {into}, {len(names) - len(due)} parts done before")
    if others:
        say(f"export: left out, for they can't be read any more: {', '.join(f'{n} {reason}' for reason, n in others)}")
    if told["late"]:
        raise StorageUnavailable(f"{told['late']} parts wait for footage that can't be read now: run the same command")


def _on_actors(due: Sequence[str], into: str, config: ExportConfig) -> Counter[str]:
    quiet_datasets()
    parts = ray.data.from_items(list(due), override_num_blocks=len(due))
    pool = ActorPoolStrategy(min_size=1, max_size=config.num_exporters)
    done = parts.map(Exporter, fn_constructor_args=(into, config), compute=pool, num_cpus=1)
    told = Counter[str]()
    for row in counted(done.iter_rows(), len(due), "export", "parts"):
        told.update(json.loads(row["told"]))
    return told


class Exporter:
    """An actor that writes one part after another."""

    def __init__(self, into: str, config: ExportConfig) -> None:
        self._into = into
        self._config = config
        self._decode = partial(decode_apart, Isolated(config.limits.of_a_process()))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """What became of a part, by its name: clips ``kept`` and the reasons of others, or 1 ``late`` part."""
        name: str = row["item"]
        with storage.scratch() as folder:
            told = self._written(ledger.recall(name, self._config.output).values(), folder)
            if _MAY_PASS & told.keys():
                logger.warning("part %s waits: %s", name, dict(told))
                return {"told": json.dumps({"late": 1})}
            _store(folder, self._into, name, self._config.form)
        return {"told": json.dumps(told)}

    def _written(self, rows: Iterable[Examined], folder: Path) -> Counter[str]:
        told = Counter[str]()
        with (folder / WORDS).open("w", encoding="utf-8") as words:
            for row in rows:
                kept = [clip for clip in row.clips if clip.status == "kept"]
                for clip, frames in clips_pixels(row, kept, self._decode, self._config.scratch_bytes):
                    told[frames if isinstance(frames, str) else "kept"] += 1
                    if not isinstance(frames, str):
                        facts = _write_clip(folder, row, clip, frames, self._config.crf)
                        words.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return told


def _write_clip(folder: Path, row: Examined, clip: Clip, frames: np.ndarray, crf: int) -> dict[str, Any]:
    """A clip's three files; what `datasets` is told of it."""
    if clip.frames == 1:
        file = folder / f"{clip.clip_id}.png"
        media.write_image(file, frames[0])
    else:
        file = folder / f"{clip.clip_id}.mp4"
        media.encode_mp4(file, map(np.ascontiguousarray, frames), clip.fps, crf=crf)
    caption = clip.caption or ""
    facts = {
        "clip_id": clip.clip_id, "caption": caption, "captioner": clip.captioner, "licence": row.source.licence,
        "uri": row.source.uri, "start_s": clip.start_s, "end_s": clip.end_s, "fps": clip.fps, "frames": clip.frames,
        "height": clip.height, "width": clip.width,
    }  # fmt: skip
    file.with_suffix(".txt").write_text(caption, encoding="utf-8")
    file.with_suffix(".json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    return {"file_name": file.name, "text": caption, **facts}


def _mark(into: str, name: str, form: str) -> str:
    """What is written last of a part."""
    return storage.join(into, f"{name}.tar") if form == "webdataset" else storage.join(into, name, WORDS)


def _store(folder: Path, into: str, name: str, form: str) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != WORDS)
    if form == "webdataset":
        packed = folder / f"{name}.tar"
        with tarfile.open(packed, "w") as tar:
            for path in files:
                tar.add(path, path.name)
        storage.upload(packed, _mark(into, name, form))
        return
    for path in [path for path in files if path.suffix != ".json"] + [folder / WORDS]:
        storage.upload(path, storage.join(into, name, path.name))
