"""The story of a calibration: sample without a cache, then with every threshold, keep the fastest that is faithful."""

import logging

from jobs.calibrate.config import CalibrateConfig
from sora_core import checkpoint
from sora_core.pipeline import Pipeline, Request, calibration
from sora_core.pipeline.calibration import LEAST_PSNR_DB, LEAST_SSIM, Calibration

logger = logging.getLogger(__name__)


def calibrate(config: CalibrateConfig) -> None:
    """Print a row a threshold and store the choice; SystemExit with 1 when none is faithful and faster."""
    uri = checkpoint.resolve(config.checkpoint)
    pipeline = Pipeline.load(uri)
    measured: list[Calibration] = []
    print(f"{'threshold':>9}  {'PSNR dB':>7}  {'SSIM':>5}  {'left out':>8}  {'speed':>5}")  # noqa: T201
    for one in calibration.calibrate(pipeline, _requests(config), config.thresholds):
        measured.append(one)
        print(_row(one), flush=True)  # noqa: T201 - the command's own output
    chosen = calibration.choose(measured)
    calibration.store(uri, chosen)
    if chosen is None:
        raise SystemExit(
            f"jobs.calibrate: no threshold is faster and keeps {LEAST_PSNR_DB:.0f} dB and SSIM {LEAST_SSIM}: "
            f"the cache of {uri} stays off"
        )
    logger.info("%s: threshold %g; switch it on with sampler.feature_cache", uri, chosen.threshold)


def _requests(config: CalibrateConfig) -> list[Request]:
    width, height = (int(side) for side in config.size.split("x"))
    return [
        Request(
            prompt=prompt,
            num_frames=config.num_frames,
            height=height,
            width=width,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            seed=config.seed + number,
        )
        for number, prompt in enumerate(config.prompts)
    ]


def _row(one: Calibration) -> str:
    verdict = "" if one.is_faithful else f"  refused: under {LEAST_PSNR_DB:.0f} dB or {LEAST_SSIM}"
    return f"{one.threshold:9g}  {one.psnr_db:7.2f}  {one.ssim:5.3f}  {one.left_out:8.0%}  {one.speedup:5.2f}{verdict}"
