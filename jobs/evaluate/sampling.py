"""Prompts to clips, many in each forward pass, and what was read back from each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.config import EvaluateConfig
from sora_core.pipeline import Generation, Pipeline, Request
from sora_core.pipeline.frames import to_frames, to_video
from sora_core.world.looks import is_whole, speckle
from sora_core.world.readback import Reading, read, score
from sora_core.world.render import render
from sora_core.world.scene import Scene
from sora_core.world.words import caption, sample

_FILM_FRAMES = 4

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Question:
    """A scene to ask for; ``unseen`` when no training caption combines its attributes so."""

    scene: Scene
    unseen: bool

    @property
    def prompt(self) -> str:
        return caption(self.scene.attributes)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one clip shows of a scene, how it looks, and a few of its frames ``(4, h, w, 3)``.

    ``whole``: its object is cut off by no edge; ``speckle``: how far its ground is from smooth, of 255; ``moving`` are
    all of its frames, scaled to the sheet, of those that it shows.
    """

    reading: Reading
    hits: dict[str, bool]
    whole: bool
    speckle: float
    film: Frames
    moving: Frames | None = None


def questions(config: EvaluateConfig) -> list[Question]:
    """The scenes of a config; every second one is unseen."""
    mix = config.mix
    numbers = range(config.num_prompts)
    return [Question(sample(mix, config.seed * 2**32 + n, unseen=n % 2 == 1), n % 2 == 1) for n in numbers]


def requests(config: EvaluateConfig, asked: Sequence[Question], *, with_text: bool) -> list[Request]:
    """One request a question. Without text there is nothing to guide to, so the plain model is sampled."""
    return [
        Request(
            prompt=question.prompt if with_text else "",
            num_frames=question.scene.size.frames,
            height=question.scene.size.height,
            width=question.scene.size.width,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale if with_text else 1.0,
            seed=number,
        )
        for number, question in enumerate(asked)
    ]


def generate(pipeline: Pipeline, wanted: Sequence[Request], pack_tokens: int) -> Iterator[Frames]:
    """The clip of each request, in order. InputError, before any compute, for one that the model can't make."""
    for request in wanted:
        pipeline.limits.check(request, pipeline.vae.compression, pipeline.dit.config.patch)
    together: list[Generation] = []
    for request in wanted:
        generation = pipeline.start(request)
        if together and sum(one.num_tokens for one in [*together, generation]) > pack_tokens:
            yield from _finish(pipeline, together)
            together = []
        together.append(generation)
    yield from _finish(pipeline, together)


def _finish(pipeline: Pipeline, together: list[Generation]) -> Iterator[Frames]:
    while waiting := [generation for generation in together if not generation.done]:
        pipeline.step(waiting)
    for generation in together:
        yield pipeline.decode(generation)


def through_codec(pipeline: Pipeline, question: Question) -> Frames:
    """The truth, encoded and decoded again: what a perfect transformer would be read as."""
    video = to_video(render(question.scene))[None].to(pipeline.device)
    return to_frames(pipeline.vae.decode(pipeline.vae.encode(video).mean)[0])


def judge(question: Question, frames: Frames, shown: int = 0) -> Answer:
    """Read a clip back and compare it with the question; keep its frames, ``shown`` pixels a side at most, if any."""
    reading = read(frames)
    places = np.linspace(0, len(frames) - 1, _FILM_FRAMES).round().astype(int)
    hits = score(reading, question.scene.attributes)
    moving = np.stack([scaled(frame, shown) for frame in frames]) if shown else None
    return Answer(reading, hits, is_whole(frames), speckle(frames), frames[places], moving)


def scaled(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A frame whose longer side has so many pixels."""
    scale = side / max(frame.shape[:2])
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4)
    return np.asarray(resized, np.uint8)
