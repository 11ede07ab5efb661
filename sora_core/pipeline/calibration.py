"""How far a model's feature cache may go: thresholds measured against no cache, on the model's own videos."""

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from sora_core import storage
from sora_core.errors import CheckpointError, MissingObject
from sora_core.pipeline.frames import to_video
from sora_core.pipeline.generation import Request
from sora_core.pipeline.pipeline import Pipeline
from sora_core.vae.metrics import psnr, ssim

LEAST_PSNR_DB = 30.0
LEAST_SSIM = 0.92
_NAME = "feature_cache.json"
# A smaller change of an eight-bit video than this counts as none.
_LARGEST_PSNR_DB = 99.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a threshold did to the worst of the videos, which part of the token-steps it spared, how much faster it was.

    ``num_inference_steps`` is what it was measured with: fewer steps lie further apart and are left out less.
    """

    threshold: float
    psnr_db: float
    ssim: float
    left_out: float
    speedup: float
    num_inference_steps: int

    @property
    def is_faithful(self) -> bool:
        """Whether every video stayed as near to the one without a cache as is asked."""
        return self.psnr_db >= LEAST_PSNR_DB and self.ssim >= LEAST_SSIM

    @property
    def wins(self) -> bool:
        """Whether it is worth its memory."""
        return self.is_faithful and self.speedup > 1.0


def calibrate(pipeline: Pipeline, requests: Sequence[Request], thresholds: Sequence[float]) -> Iterator[Calibration]:
    """One measurement a threshold, over the same requests packed together; times are taken in turns with no cache's."""
    plain, plain_s, _ = _sample(pipeline, requests, 0.0)
    for threshold in thresholds:
        cached, cached_s, left_out = _sample(pipeline, requests, threshold)
        _, again_s, _ = _sample(pipeline, requests, 0.0)
        scores = [_distance(*pair) for pair in zip(plain, cached, strict=True)]
        yield Calibration(
            threshold=threshold,
            psnr_db=min(score[0] for score in scores),
            ssim=min(score[1] for score in scores),
            left_out=left_out,
            speedup=min(plain_s, again_s) / cached_s,
            num_inference_steps=min(request.num_inference_steps for request in requests),
        )


def _sample(
    pipeline: Pipeline, requests: Sequence[Request], threshold: float
) -> tuple[list[UInt8[np.ndarray, "t h w 3"]], float, float]:
    """The videos, the seconds that all steps took, and the part of the token-steps left out."""
    running = [pipeline.start(replace(request, cache_threshold=threshold)) for request in requests]
    generations = list(running)
    began, token_steps = time.perf_counter(), 0
    while running:
        token_steps += sum(generation.num_tokens for generation in running)
        pipeline.step(running)
        running = [generation for generation in running if not generation.done]
    elapsed_s = time.perf_counter() - began
    left_out = sum(generation.tokens_left_out for generation in generations) / token_steps
    return [pipeline.decode(generation) for generation in generations], elapsed_s, left_out


def _distance(a: UInt8[np.ndarray, "t h w 3"], b: UInt8[np.ndarray, "t h w 3"]) -> tuple[float, float]:
    """Mean PSNR and SSIM over the frames of two videos."""
    first, second = to_video(a)[None], to_video(b)[None]
    db = psnr(first, second).clamp(max=_LARGEST_PSNR_DB).mean().item()
    return db, ssim(first, second).mean().item()


def choose(measured: Sequence[Calibration]) -> Calibration | None:
    """The one that spares most work of those that win; None when no cache is better. Work, for times are noisy."""
    return max((one for one in measured if one.wins), key=lambda one: one.left_out, default=None)


def store(uri: str, chosen: Calibration | None) -> None:
    """Leave the choice beside the checkpoint that it was made for; None takes an earlier one away."""
    place = storage.join(uri, _NAME)
    if chosen is None:
        storage.delete(place)
    else:
        storage.write_bytes(place, json.dumps(dataclasses.asdict(chosen), indent=1).encode())


def stored(uri: str) -> Calibration:
    """The choice beside a checkpoint. CheckpointError when there is none, or it isn't understood."""
    place = storage.join(uri, _NAME)
    try:
        return Calibration(**json.loads(storage.read_bytes(place)))
    except MissingObject as error:
        raise CheckpointError(
            f"{place}: the feature cache of this model is not calibrated; run python -m jobs.calibrate, "
            f"or leave sampler.feature_cache off"
        ) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{place}: not understood ({error}); run python -m jobs.calibrate again") from error
