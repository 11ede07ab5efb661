"""What a run shows of itself beside each checkpoint, and how well it says that it uses its devices."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.flop_counter
from PIL import Image
from pydantic import ValidationError

from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.utilisation import Meter, measure_peak
from sora_core import checkpoint
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack
from sora_core.shapes import LatentShape
from sora_core.training.plan import Plan, PlanRules

CPU = torch.device("cpu")


def test_every_checkpoint_has_a_card_of_its_own(small_run: TrainConfig) -> None:
    train_steps(small_run, CPU, lambda _step, _loss: None)
    for step in (4, 8, 12):
        folder = Path(checkpoint.step_uri(small_run.output, step))
        text = (folder / "README.md").read_text()
        assert f"# run, step {step}" in text
        assert "trained from nothing" in text
        assert "| CC0-1.0 | 10 |\n| unknown | 10 |" in text
        assert "first_frame, " in text
        assert '"pack_tokens": 64' in text
        assert ("| 0.50 | " in text) == (step >= 6), "validated at 6 and 12"
        with Image.open(folder / "training.png") as picture:
            assert picture.width > 500


def test_samples_come_with_checkpoints() -> None:
    values = {"data": "d", "output": "o", "steps": 8, "checkpoint_every": 4}
    with pytest.raises(ValidationError, match="give a multiple of checkpoint_every = 4"):
        TrainConfig.model_validate(values | {"samples": {"every": 6}})
    assert TrainConfig.model_validate(values | {"samples": {"every": 8}}).samples.every == 8


def test_operations_of_a_step_are_three_forwards_of_its_packs_as_torch_counts_them() -> None:
    config = DiTConfig(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, text_dim=8, ffn_dim=24, num_layers=2
    )
    latents = [LatentShape(4, frames, 4, 4) for frames in (1, 2, 3, 5)]
    tokens = np.array([config.patch.grid(latent).num_tokens for latent in latents])
    planned = next(Plan(tokens, PlanRules(0, 48, 2, 72.0)).steps())
    meter = Meter(config, 3.0, adapter=False, peak_flops=1e9)
    dit = DiT(config)
    counted = 0
    for numbers in planned.packs:
        clips = [Clip(torch.zeros(latents[number].as_tuple()), 0.5, torch.zeros(3, 8)) for number in numbers]
        with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
            dit(pack(clips))
        counted += counter.get_total_flops()
    assert meter.flops(planned) == pytest.approx(3 * counted, rel=0.15), "the head of the noise level is left out"
    assert meter.used(planned, 2.0) == meter.flops(planned) / 2e9


def test_a_peak_is_what_a_product_reaches() -> None:
    assert 1e8 < measure_peak(CPU, torch.float32) < 1e14
