"""Files under a URI -> short runs of frames in memory, apart by file into training and measuring."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.train_vae.config import TrainVaeConfig
from sora_core import media, storage
from sora_core.errors import ConfigError, UnreadableMedia

logger = logging.getLogger(__name__)

Frames = NDArray[np.uint8]
"""(t, h, w, 3); a photograph has one frame."""

_SHORT_SIDE = 224
_PHOTO_SHORT_SIDE = 640  # crops of a photograph move through it, so it is kept larger
_RUNS = 8  # of one file, spread over its length
_RUN_FRAMES = 24


@dataclass(frozen=True, slots=True)
class Footage:
    """File name -> its runs of frames."""

    train: Mapping[str, list[Frames]]
    held_out: Mapping[str, list[Frames]]


def read_footage(config: TrainVaeConfig) -> Footage:
    """Decode what the patterns name. Unreadable files are left out with a warning; ConfigError when none are left."""
    train: dict[str, list[Frames]] = {}
    held_out: dict[str, list[Frames]] = {}
    for info in sorted(storage.list_objects(config.source), key=lambda info: info.uri):
        name = storage.name(info.uri)
        if _matches(name, config.held_out):
            wanted = held_out
        elif _matches(name, config.train):
            wanted = train
        else:
            continue
        with storage.local_file(info.uri) as path:
            try:
                runs = list(_runs(path))
            except UnreadableMedia as error:
                logger.warning("left out: %s (%s)", error, error.reason)
                continue
        if runs:
            wanted[name] = runs
    longest = max(phase.frames for phase in config.phases)
    wanted_frames = (
        ("train", config.train, train, longest),
        ("held_out", config.held_out, held_out, config.measured_frames),
    )
    for names, patterns, found, frames in wanted_frames:
        if not any(len(run) >= frames for runs in found.values() for run in runs):
            raise ConfigError(
                f"{names} = {list(patterns)}: no readable video of {frames} frames under {config.source} has "
                "such a name; change the patterns or the source"
            )
    logger.info("%d files to train on, %d to measure on", len(train), len(held_out))
    return Footage(train, held_out)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _runs(path: Path) -> Iterator[Frames]:
    info = media.probe(path)
    short = _PHOTO_SHORT_SIDE if info.kind == "image" else _SHORT_SIDE
    scale = min(1.0, short / min(info.height, info.width))
    size = round(info.height * scale), round(info.width * scale)
    if info.kind == "image":
        yield media.decode_image(path, size)[None]
        return
    length_s = _RUN_FRAMES / (info.fps or 25.0)
    last_s = max(0.0, (info.duration_s or 0.0) - length_s)
    for start_s in np.linspace(0, last_s, max(1, min(_RUNS, int(last_s / length_s) + 1))):
        try:
            yield media.decode_clip(path, float(start_s), size=size, max_frames=_RUN_FRAMES)
        except UnreadableMedia:
            if not start_s:
                raise
            return  # the container claims more than there is
