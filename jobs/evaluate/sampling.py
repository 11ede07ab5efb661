"""Prompts to clips, many in each forward pass, and what was read back from each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.config import EvaluateConfig
from sora_core.pipeline import Generation, Pipeline, Request
from sora_core.pipeline.frames import to_frames, to_video
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
    """What one clip shows of a scene, and a few of its frames ``(4, h, w, 3)``."""

    reading: Reading
    hits: dict[str, bool]
    film: Frames


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


def judge(question: Question, frames: Frames) -> Answer:
    """Read a clip back and compare it with the question."""
    reading = read(frames)
    places = np.linspace(0, len(frames) - 1, _FILM_FRAMES).round().astype(int)
    return Answer(reading, score(reading, question.scene.attributes), frames[places])
