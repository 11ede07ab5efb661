"""What a finished run shows: the curve of its losses, and videos of its own."""

import io
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.train.config import TrainConfig
from jobs.train.curve import draw_curve
from jobs.train.data import Dataset
from jobs.train.record import read_lines
from sora_core import checkpoint, storage
from sora_core.errors import MissingObject
from sora_core.media import contact_sheet, encode_mp4
from sora_core.pipeline import Generation, Pipeline, Request

logger = logging.getLogger(__name__)

_INDEX = "samples/index.json"
_SHEET_FRAMES = 6


def is_published(output: str) -> bool:
    """Whether the newest checkpoint's curve and samples are there."""
    newest = checkpoint.latest(output)
    try:
        index = json.loads(storage.read_bytes(storage.join(output, _INDEX)))
    except MissingObject:
        return False
    return newest is not None and index["step"] == checkpoint.read_meta(newest).step


def publish(config: TrainConfig, device: str) -> None:
    """Write ``training.png``, and ``samples/*.mp4`` with a contact sheet, all from what the run has stored."""
    storage.write_bytes(storage.join(config.output, "training.png"), draw_curve(read_lines(config.output)))
    newest = checkpoint.resolve(config.output)
    index: dict[str, object] = {"step": checkpoint.read_meta(newest).step, "samples": []}
    if config.samples.count:
        requests = list(_requests(config))
        pipeline = Pipeline.load(newest, device)
        clips = _generate(pipeline, requests, config.pack_tokens)
        _store(config.output, requests, clips, pipeline.fps)
        index["samples"] = [{"file": f"{_name(n)}.mp4", "prompt": r.prompt} for n, r in enumerate(requests)]
    storage.write_bytes(storage.join(config.output, _INDEX), json.dumps(index, indent=1).encode())
    logger.info("curve and %d samples: %s", config.samples.count, config.output)


def _requests(config: TrainConfig) -> Iterator[Request]:
    """The chosen prompts, or captions of the data, at the data's usual size."""
    samples, dataset = config.samples, config.open_data()
    prompts = samples.prompts or _captions(config, dataset)
    shape = dataset.usual_shape()
    for number in range(samples.count):
        yield Request(
            prompt=prompts[number % len(prompts)],
            num_frames=shape.frames,
            height=shape.height,
            width=shape.width,
            num_inference_steps=samples.num_inference_steps,
            seed=config.seed + number,
        )


def _captions(config: TrainConfig, dataset: Dataset) -> list[str]:
    """Captions of random clips that move, or of stills when none does: as many different ones as are needed."""
    moving = np.flatnonzero(~dataset.stills())
    clips = moving if len(moving) else np.arange(len(dataset.train))
    chosen = dataset.train[np.random.default_rng(config.seed).permutation(clips)[: 8 * config.samples.count]]
    with closing(config.read_rows(dataset)) as rows:
        return list(dict.fromkeys(row.caption for row in rows.rows(chosen.tolist())))


def _generate(pipeline: Pipeline, requests: Sequence[Request], max_tokens: int) -> list[np.ndarray]:
    """The frames of each request, several in a forward."""
    clips: list[np.ndarray] = []
    group: list[Generation] = []
    for number, request in enumerate(requests):
        group.append(pipeline.start(request))
        full = sum(generation.num_tokens for generation in group) >= max_tokens
        if full or number == len(requests) - 1:
            while not group[0].done:
                pipeline.step(group)
            clips += [pipeline.decode(generation) for generation in group]
            group = []
    return clips


def _store(output: str, requests: Sequence[Request], clips: Sequence[np.ndarray], fps: float) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="sora-") as folder:
        for number, (request, clip) in enumerate(zip(requests, clips, strict=True)):
            encode_mp4(Path(folder) / f"{_name(number)}.mp4", clip, fps)
            logger.info("sample %s: %s", _name(number), request.prompt)
            rows.append(clip[np.linspace(0, len(clip) - 1, _SHEET_FRAMES).round().astype(int)])
        sheet = io.BytesIO()
        Image.fromarray(contact_sheet(np.concatenate(rows), columns=_SHEET_FRAMES)).save(sheet, "PNG")
        (Path(folder) / "sheet.png").write_bytes(sheet.getvalue())
        storage.upload_folder(folder, storage.join(output, "samples"))


def _name(number: int) -> str:
    return f"{number:02d}"
