"""What a run shows with each checkpoint: a card, the curve of its losses, and videos of its own."""

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from jobs.train.adapter import Finish
from jobs.train.card import CARD, CURVE, SAMPLES, SHEET, card
from jobs.train.config import TrainConfig
from jobs.train.curve import draw_curve
from jobs.train.data import Dataset
from jobs.train.record import read_lines
from sora_core import checkpoint, storage
from sora_core.checkpoint import Meta
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


def publish(config: TrainConfig, device: torch.device) -> None:
    """Write ``training.png``, and ``samples/*.mp4`` with a contact sheet, for the newest checkpoint and beside it."""
    newest = checkpoint.resolve(config.output)
    prompts = show(config, config.open_data(), newest, device, films=config.samples.count > 0, also=config.output)
    samples = [{"file": f"{_name(number)}.mp4", "prompt": prompt} for number, prompt in enumerate(prompts)]
    index = {"step": checkpoint.read_meta(newest).step, "samples": samples}
    storage.write_bytes(storage.join(config.output, _INDEX), json.dumps(index, indent=1).encode())
    logger.info("curve and %d samples: %s", len(samples), config.output)


class Gallery:
    """Shows each checkpoint of a run, one after another, in a thread of its own."""

    def __init__(self, config: TrainConfig, dataset: Dataset, device: torch.device) -> None:
        self._config, self._dataset, self._device = config, dataset, device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gallery")

    def after(self, finish: Finish) -> Finish:
        """``finish``, and then the whole checkpoint is shown."""

        def finish_and_show(uri: str, weights: dict[str, Tensor], meta: Meta) -> None:
            finish(uri, weights, meta)
            self._thread.submit(self._show, uri, meta.step)

        return finish_and_show

    def close(self) -> None:
        """Wait until everything is shown."""
        self._thread.shutdown()

    def _show(self, uri: str, step: int) -> None:
        every = self._config.samples.every
        films = every is not None and step % every == 0 and step < self._config.steps
        try:
            show(self._config, self._dataset, uri, self._device, films=films)
        except Exception:
            logger.exception("%s: no card; training goes on", uri)


def show(
    config: TrainConfig, dataset: Dataset, uri: str, device: torch.device, *, films: bool, also: str | None = None
) -> list[str]:
    """Put the curve, the card and, if asked, videos beside a checkpoint; the prompts of the videos.

    ``also`` is another place for the curve and the videos.
    """
    meta = checkpoint.read_meta(uri)
    lines = {step: line for step, line in read_lines(config.output).items() if step <= meta.step}
    requests = list(_requests(config, dataset)) if films else []
    prompts = [request.prompt for request in requests]
    with storage.scratch() as folder:
        (folder / CURVE).write_bytes(draw_curve(lines))
        if requests:
            pipeline = Pipeline.load(uri, str(device))
            _film(requests, _generate(pipeline, requests, config.pack_tokens), pipeline.fps, folder / SAMPLES)
        if also is not None:
            storage.upload_folder(folder, also)
        shape = dataset.usual_shape()
        (folder / CARD).write_text(card(uri, meta, lines, prompts, (shape.frames, shape.height, shape.width)))
        storage.upload_folder(folder, uri)
    return prompts


def _requests(config: TrainConfig, dataset: Dataset) -> Iterator[Request]:
    """The chosen prompts, or captions of the data, at the data's usual size."""
    samples = config.samples
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


def _film(requests: Sequence[Request], clips: Sequence[np.ndarray], fps: float, folder: Path) -> None:
    """An mp4 of each clip, and a sheet with some frames of each in a row."""
    folder.mkdir()
    rows = []
    for number, (request, clip) in enumerate(zip(requests, clips, strict=True)):
        encode_mp4(folder / f"{_name(number)}.mp4", clip, fps)
        logger.info("sample %s: %s", _name(number), request.prompt)
        rows.append(clip[np.linspace(0, len(clip) - 1, _SHEET_FRAMES).round().astype(int)])
    Image.fromarray(contact_sheet(np.concatenate(rows), columns=_SHEET_FRAMES)).save(folder / SHEET)


def _name(number: int) -> str:
    return f"{number:02d}"
