"""What can't work is said in a sentence, before any step."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.launch import load_config
from jobs.train.config import SampleConfig, TrainConfig, differences
from jobs.train.driver import check
from jobs.train.loop import train_steps
from sora_core import shards
from sora_core.errors import CheckpointError, ConfigError, FingerprintMismatch, InputError, MissingObject
from sora_core.text import TextEncoder
from sora_core.vae import VideoAutoencoder


def trained(config: TrainConfig) -> TrainConfig:
    config = config.model_copy(update={"steps": 4})
    train_steps(config, torch.device("cpu"), lambda _step, _loss: None)
    return config


def test_a_sound_config_passes_and_tells_the_steps_done(small_run: TrainConfig) -> None:
    assert check(small_run) == 0
    assert check(trained(small_run)) == 4


def test_missing_data_names_the_job_that_makes_it(small_run: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"jobs\.curate"):
        check(small_run.model_copy(update={"data": str(tmp_path / "nowhere")}))


def test_a_manifest_without_training_clips_is_refused(small_run: TrainConfig, curated: Any) -> None:
    curated(small_run.data, clips=3, num_val=3)
    with pytest.raises(InputError, match="no clip to train on"):
        check(small_run)


def test_clips_longer_than_a_pack_are_refused(small_run: TrainConfig) -> None:
    with pytest.raises(InputError, match="pack_tokens = 8"):
        check(small_run.model_copy(update={"pack_tokens": 8}))


def test_another_model_cannot_resume_a_run_and_the_change_is_named(small_run: TrainConfig) -> None:
    done = trained(small_run)
    other = done.model_copy(update={"model": done.model.model_copy(update={"num_layers": 3})})
    with pytest.raises(CheckpointError, match="num_layers: 2 -> 3"):
        check(other)


def test_latents_of_another_autoencoder_cannot_continue_a_run(small_run: TrainConfig, curated: Any) -> None:
    done = trained(small_run)
    curated(done.data, vae="vae-2")
    with pytest.raises(FingerprintMismatch, match="latents"):
        check(done)


@pytest.mark.parametrize("changed", ["vae", "text_encoder"])
def test_encoders_that_changed_under_their_name_are_found_before_any_step(
    small_run: TrainConfig, curated: Any, changed: str
) -> None:
    manifest = curated(small_run.data, encoders=(VideoAutoencoder.load(), TextEncoder.load()))
    config = small_run.model_copy(update={"samples": SampleConfig(count=1)})
    assert check(config) == 0
    other = replace(getattr(manifest, changed), fingerprint="f" * 64)
    shards.write_manifest(replace(manifest, **{changed: other}), small_run.data)
    with pytest.raises(FingerprintMismatch, match="were made by 'default'"):
        check(config)


def test_fewer_steps_than_are_done_are_refused(small_run: TrainConfig) -> None:
    done = trained(small_run)
    with pytest.raises(ConfigError, match="steps = 3"):
        check(done.model_copy(update={"steps": 3}))


def test_an_output_that_cannot_be_written_is_found_first(small_run: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingObject, match="file"):
        check(small_run.model_copy(update={"output": str(tmp_path / "file" / "run")}))


def test_shares_of_masks_that_cannot_be_are_refused() -> None:
    places = ["data=d", "output=o", "steps=1", "checkpoint_every=1"]
    with pytest.raises(ConfigError, match="middle"):
        load_config("train", TrainConfig, ["--set", *places, "given.middle=0.1"])
    with pytest.raises(ConfigError, match="can't exceed 1"):
        load_config("train", TrainConfig, ["--set", *places, "given.first_frame=0.7", "given.prefix=0.7"])


def test_differences_name_nested_keys() -> None:
    now, before = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "d": 3}}
    assert list(differences(now, before)) == ["b.c: 4 -> 2"]


@pytest.mark.slow
def test_the_command_exits_2_with_one_sentence(tmp_path: Path) -> None:
    arguments = ["--set", f"data={tmp_path}/none", f"output={tmp_path}/run", "steps=1", "checkpoint_every=1"]
    done = subprocess.run([sys.executable, "-m", "jobs.train", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "jobs.curate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_cannot_fit_is_refused_with_its_needs_and_the_remedies(small_run: TrainConfig) -> None:
    assert check(small_run.model_copy(update={"memory_gib": 1.0})) == 0
    with pytest.raises(ConfigError, match=r"needs 0\.0\d GiB a worker \(weights .*memory_gib = 0\.0001 gives.*fsdp"):
        check(small_run.model_copy(update={"memory_gib": 1e-4}))


def test_workers_that_cannot_be_divided_are_refused(small_run: TrainConfig) -> None:
    elastic = {"num_workers": (1, 2), "context_parallel": 2}
    with pytest.raises(ConfigError, match="context_parallel = 2 doesn't divide 1 workers"):
        check(small_run.model_copy(update=elastic))
    with pytest.raises(ConfigError, match="context_parallel = 4 doesn't divide the model's 2 attention heads"):
        check(small_run.model_copy(update={"num_workers": 4, "context_parallel": 4}))
