"""From frames to stored files: mp4, thumbnail and sprite sheet, streamed as the frames come."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16, UInt8
from PIL import Image

from services.video.files import CONTENT_TYPES, FILE_NAMES, VARIANTS, attempt_folder
from services.video.job import Job, Kind
from services.video.moderation.guard import Guard
from services.video.provenance.seals import Seals
from services.video.provenance.sources import read_sources
from services.video.workers.patience import Patience
from sora_core import media, storage

SHEET_COLUMNS = 5
_SHEET_FRAMES = SHEET_COLUMNS**2
_SHEET_FRAME_WIDTH = 320
_JPEG_QUALITY = 80


@dataclass(slots=True)
class _Samples:
    """The frames kept for the pictures while all frames pass by on their way to the encoder."""

    indices: frozenset[int]
    judged: frozenset[int] = frozenset()
    first: UInt8[np.ndarray, "h w 3"] | None = None
    sheet: list[UInt8[np.ndarray, "i j 3"]] = field(default_factory=list)
    shown: list[UInt8[np.ndarray, "i j 3"]] = field(default_factory=list)

    def see(self, index: int, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        if index == 0:
            self.first = frame
        if index in self.indices:
            self.sheet.append(_reduced(frame))
        if index in self.judged:
            self.shown.append(_reduced(frame))


def _reduced(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "i j 3"]:
    height, width = frame.shape[:2]
    if width <= _SHEET_FRAME_WIDTH:
        return frame
    size = (_SHEET_FRAME_WIDTH, max(1, round(height * _SHEET_FRAME_WIDTH / width)))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


class Renderer:
    """Encodes and stores; every attempt at a job has a folder of its own, so a late one disturbs nothing."""

    def __init__(self, output: str, patience: Patience, seals: Seals, guard: Guard, *, crf: int) -> None:
        self._output = output
        self._guard = guard
        self._seals = seals
        self._patience = patience
        self._crf = crf

    def render(
        self,
        job: Job,
        frames: Iterable[UInt8[np.ndarray, "h w 3"]],
        sound: Int16[np.ndarray, "n 2"] | None,
        on_frame: Callable[[int], None],
    ) -> dict[str, Any]:
        """Store a job's files; where they are and how large. ``on_frame`` hears the frames done and may raise.
        FramesBlocked for frames that may not leave."""
        count = job.params["num_frames"]
        kept = frozenset(np.linspace(0, count - 1, min(count, _SHEET_FRAMES)).round().astype(int).tolist())
        samples = _Samples(kept, _judged(count, job.params["fps"] / self._guard.frames_per_second))
        with storage.scratch() as folder:
            paths = {variant: folder / FILE_NAMES[variant] for variant in VARIANTS[job.kind]}
            seen = _seen(self._seals.frames(job, frames), samples, on_frame)
            if job.kind is Kind.IMAGE:
                Image.fromarray(next(seen)).save(paths["image"])
            else:
                metadata = self._seals.metadata(job)
                media.encode_mp4(paths["video"], seen, job.params["fps"], crf=self._crf, sound=sound, metadata=metadata)
                _write_pictures(paths, samples)
            self._guard.check_frames(job, samples.shown)
            self._seal(job, paths, folder)
            return {variant: self._store(job, variant, path) for variant, path in paths.items()}

    def discard(self, job: Job) -> None:
        """Remove what an attempt stored that doesn't count."""
        storage.delete_prefix(attempt_folder(self._output, job))

    def _seal(self, job: Job, paths: dict[str, Path], folder: Path) -> None:
        sources = self._patience.call(partial(read_sources, self._output, job.id, folder))
        for variant, path in paths.items():
            self._patience.call(partial(self._seals.seal, job, variant, path, sources))

    def _store(self, job: Job, variant: str, path: Path) -> dict[str, Any]:
        uri = storage.join(attempt_folder(self._output, job), path.name)
        self._patience.call(lambda: storage.upload(path, uri, content_type=CONTENT_TYPES[variant]))
        return {"uri": uri, "bytes": path.stat().st_size}


def _seen(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]], samples: _Samples, on_frame: Callable[[int], None]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    for index, frame in enumerate(frames):
        on_frame(index)
        samples.see(index, frame)
        yield frame


def _judged(count: int, every: float) -> frozenset[int]:
    """The frames that the gate sees: the first, the last, and one in ``every`` between them."""
    return frozenset({*np.arange(0, count, max(every, 1.0)).astype(int).tolist(), count - 1})


def _write_pictures(paths: dict[str, Path], samples: _Samples) -> None:
    assert samples.first is not None
    media.write_thumbnail(paths["thumbnail"], samples.first)
    sheet = media.contact_sheet(np.stack(samples.sheet), SHEET_COLUMNS)
    Image.fromarray(sheet).save(paths["spritesheet"], quality=_JPEG_QUALITY, progressive=True)
