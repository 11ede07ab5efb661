"""Scenes to files in a bucket, by a pool of processes; what is there already stays."""

import csv
import io
import logging
import multiprocessing
from collections.abc import Iterator
from functools import partial

from jobs.launch import write_resolved
from jobs.progress import counted
from jobs.world.clips import write_clip
from jobs.world.config import WorldConfig
from jobs.world.latents import LICENCE, write_latents
from sora_core import storage
from sora_core.errors import ConfigError, MissingObject
from sora_core.world.scene import Scene
from sora_core.world.words import caption, sample

logger = logging.getLogger(__name__)

CAPTIONS = "captions.csv"
_SETTINGS = "config.json"
_CHUNK = 8  # clips that a process takes at once


def write_world(config: WorldConfig) -> None:
    """Render what is missing, then write the captions. ConfigError when ``output`` holds another world."""
    if config.latents:
        write_latents(config, [sample(config.mix, seed) for seed in _seeds(config)])
        return
    done = _names_there(config)
    scenes = [sample(config.mix, seed) for seed in _seeds(config)]
    names = [_name(number, scene) for number, scene in enumerate(scenes)]
    missing = [(name, scene) for name, scene in zip(names, scenes, strict=True) if name not in done]
    if not missing and CAPTIONS in done:
        logger.info("%s: all %d clips are there", config.output, config.num_clips)
        return
    if _SETTINGS not in done:
        storage.check_writable(config.output)
        write_resolved(config, config.output)
    write = partial(write_clip, output=config.output, fps=config.fps, crf=config.crf)
    # Processes are started afresh: a fork would share the locks of threads and of the S3 client.
    with multiprocessing.get_context("spawn").Pool(config.num_processes) as pool:
        ready = pool.imap_unordered(write, missing, chunksize=_CHUNK)
        size_bytes = sum(counted(ready, len(missing), "world", "clips"))
    storage.write_bytes(storage.join(config.output, CAPTIONS), _table(names, scenes).encode())
    logger.info("%s: %d clips rendered, %.1f MB", config.output, len(missing), size_bytes / 1e6)


def _names_there(config: WorldConfig) -> set[str]:
    """Names in the output; ConfigError unless they are of this config's world."""
    prefix = config.output.rstrip("/") + "/"
    try:
        names = {storage.name(item.uri) for item in storage.list_objects(prefix)}
    except MissingObject:
        return set()  # a folder that doesn't exist yet; a missing bucket is met when it is written to
    if _SETTINGS in names:
        before = WorldConfig.model_validate_json(storage.read_bytes(storage.join(config.output, _SETTINGS)))
        same = {"num_processes": config.num_processes, "output": config.output}
        if before.model_copy(update=same) != config:
            raise ConfigError(f"output = {config.output}: holds clips of another config; delete them or choose another")
    return names


def _seeds(config: WorldConfig) -> Iterator[int]:
    """A seed for each clip; worlds of different seeds share none."""
    return (config.seed * 2**32 + number for number in range(config.num_clips))


def _name(number: int, scene: Scene) -> str:
    return f"{number:06d}.{'png' if scene.size.frames == 1 else 'mp4'}"


def _table(names: list[str], scenes: list[Scene]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "caption", "licence"))
    table.writerows(
        (name, caption(scene.attributes, scene.wording), LICENCE) for name, scene in zip(names, scenes, strict=True)
    )
    return text.getvalue()
