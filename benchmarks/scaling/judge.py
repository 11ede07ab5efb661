"""Trained models as pipelines, and what their videos show: read back by the world's own measure, cuts and speckle."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from benchmarks.scaling.clips import FPS, ClipSet
from benchmarks.scaling.runs import SHIFT
from jobs.evaluate.sampling import Frames, Question, generate, judge
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.model import DiT
from sora_core.pipeline import Pipeline, Request
from sora_core.pipeline.parts import Parts, Sampling
from sora_core.precision import fast_dtype
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder
from sora_core.world.looks import is_whole, speckle
from sora_core.world.scene import Mix
from sora_core.world.words import sample

NUM_STEPS = 16
GUIDANCE = 1.5

_PACK_TOKENS = 4096
_MANY_TOKENS = 4096


@cache
def _encoders() -> tuple[VideoAutoencoder, TextEncoder]:
    return VideoAutoencoder.load(dtype=fast_dtype("cpu")), TextEncoder.load()


def pipeline(dit: DiT, clips: ClipSet, shift: float = SHIFT, solver: str = "ab2") -> Pipeline:
    """A model behind the product's own sampler; ``shift`` is that of its steps."""
    vae, text = _encoders()
    sampling = Sampling(ShiftLaw(shift), GUIDANCE, solver)
    given = frozenset({"first_frame"})
    return Pipeline(Parts("run", dit, vae, text, clips.whitening, sampling, FPS, _MANY_TOKENS, given))


def questions(sizes: Sequence[str], frames: Sequence[int], count: int, seed: int = 0) -> list[Question]:
    """Scenes of these sizes and lengths; every second combines attributes as no training caption does."""
    mix = Mix.parse(dict.fromkeys(sizes, 1.0), dict.fromkeys(frames, 1.0), {1: 1.0})
    return [Question(sample(mix, seed * 2**32 + n, unseen=n % 2 == 1), n % 2 == 1) for n in range(count)]


def sampled(pipe: Pipeline, asked: Sequence[Question], num_steps: int = NUM_STEPS) -> list[Frames]:
    """The video of each question."""
    wanted = [
        Request(
            prompt=question.prompt,
            num_frames=question.scene.size.frames,
            height=question.scene.size.height,
            width=question.scene.size.width,
            num_inference_steps=num_steps,
            seed=number,
        )
        for number, question in enumerate(asked)
    ]
    return list(generate(pipe, wanted, _PACK_TOKENS))


def scores(asked: Sequence[Question], videos: Sequence[Frames]) -> dict[str, float]:
    """Shares of the videos that show what was asked, by attribute; ``whole``: that never cut their object off at the
    picture's edge; and ``speckle``, see `speckle`."""
    hits: dict[str, list[bool]] = {}
    for question, video in zip(asked, videos, strict=True):
        for name, hit in judge(question, video).hits.items():
            hits.setdefault(name, []).append(hit)
    found = {name: float(np.mean(hits[name])) for name in ("colour", "background", "direction", "shape")}
    found["whole"] = float(np.mean([is_whole(video) for video in videos]))
    found["speckle"] = float(np.mean([speckle(video) for video in videos]))
    return found


def through_autoencoder(pipe: Pipeline, asked: Sequence[Question]) -> list[Frames]:
    """The truth, encoded and decoded: what a perfect model would show."""
    from jobs.evaluate.sampling import through_codec

    return [through_codec(pipe, question) for question in asked]


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
