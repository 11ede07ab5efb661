"""From a calibration to the sampler that uses its threshold, and to the refusal where there is none."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.calibrate.calibrate import calibrate
from jobs.calibrate.config import CalibrateConfig
from services.video.workers.crew import cache_threshold
from sora_core import checkpoint
from sora_core.errors import CheckpointError
from sora_core.pipeline import Pipeline, Request
from sora_core.pipeline.calibration import Calibration, choose, stored

from .live import config_in
from .tiny_model import save_tiny_checkpoint


def config(run: str, thresholds: tuple[float, ...]) -> CalibrateConfig:
    return CalibrateConfig(
        checkpoint=run,
        prompts=("a red ball", "a blue cube"),
        thresholds=thresholds,
        size="48x32",
        num_frames=5,
        num_inference_steps=8,
        guidance_scale=2.0,
        seed=0,
    )


def measured(threshold: float, **changes: Any) -> Calibration:
    values = {"psnr_db": 40.0, "ssim": 0.99, "left_out": 0.2, "speedup": 1.2, "num_inference_steps": 30}
    return Calibration(threshold=threshold, **{**values, **changes})


def test_the_choice_is_the_most_sparing_of_those_that_are_faithful_and_faster() -> None:
    slower = measured(0.01, speedup=0.9, left_out=0.9)
    kept, better = measured(0.05), measured(0.1, left_out=0.3)
    blurred, distorted = measured(0.2, psnr_db=29.9, left_out=0.8), measured(0.2, ssim=0.91, left_out=0.8)
    assert choose([slower, kept, better, blurred, distorted]) is better
    assert choose([slower, blurred, distorted]) is None


def test_a_threshold_that_spoils_the_videos_is_refused_and_none_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save_tiny_checkpoint(str(tmp_path / "run"), std=0.4)
    with pytest.raises(SystemExit, match="stays off"):
        calibrate(config(run, thresholds=(1000.0,)))
    assert "refused: under 30 dB or 0.92" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"run python -m jobs\.calibrate"):
        cache_threshold(config_in(tmp_path, run, sampler={"feature_cache": True}))
    assert cache_threshold(config_in(tmp_path, run)) == 0.0


def test_what_was_chosen_is_what_the_sampler_uses(tiny_run: str, tmp_path: Path) -> None:
    run = str(shutil.copytree(tiny_run, tmp_path / "run"))
    uri = checkpoint.resolve(run)
    (Path(uri) / "feature_cache.json").write_text(
        '{"threshold": 0.07, "psnr_db": 35.0, "ssim": 0.95, "left_out": 0.4, "speedup": 1.3, "num_inference_steps": 30}'
    )
    assert stored(uri).threshold == 0.07
    assert cache_threshold(config_in(tmp_path, run, sampler={"feature_cache": True})) == 0.07


def test_cached_and_plain_requests_share_a_pack_and_the_plain_one_notices_nothing(tiny_pipeline: Pipeline) -> None:
    def request(cache_threshold: float) -> Request:
        return Request(
            prompt="a red ball",
            num_frames=5,
            height=32,
            width=48,
            num_inference_steps=8,
            guidance_scale=2.0,
            cache_threshold=cache_threshold,
        )

    cached, plain, alone = (tiny_pipeline.start(request(threshold)) for threshold in (1000.0, 0.0, 0.0))
    while not plain.done:
        tiny_pipeline.step([cached, plain])
        tiny_pipeline.step([alone])
    assert cached.tokens_left_out == 2 * 7 * cached.clip_tokens
    assert plain.tokens_left_out == 0
    assert float((plain.latent - alone.latent).abs().max()) < 1e-4
    assert float((cached.latent - alone.latent).abs().max()) > 1e-3
