"""A run that goes on from weights that are there, all of them or an adapter."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch import Tensor

from jobs.export.export import ExportConfig, export
from jobs.train.config import LoraConfig, TrainConfig
from jobs.train.driver import check
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
from jobs.train.start import find_start, first_model, settled
from sora_core import checkpoint, storage
from sora_core.diffusion.flow import DEFAULT_SHIFT, ShiftLaw
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_strictly, load_wan, save_wan, transformer_folder
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack
from sora_core.errors import CheckpointError, ConfigError, FingerprintMismatch
from sora_core.pipeline.parts import Sampling
from sora_core.training import lora
from tests.groups import run

CPU = torch.device("cpu")


def quietly(_step: int, _loss: float) -> None: ...


def tuned(config: TrainConfig, output: Path, init: str, **changes: Any) -> TrainConfig:
    """A run of the same data that begins with other weights, whose sizes it takes."""
    values = config.model_dump(mode="json", exclude={"model"})
    return TrainConfig.model_validate(values | {"output": str(output), "init": init, "precision": "float32"} | changes)


@pytest.fixture
def base(small_run: TrainConfig, tmp_path: Path) -> TrainConfig:
    """A run that is done, to go on from."""
    config = small_run.model_copy(update={"output": str(tmp_path / "base"), "steps": 4})
    train_steps(config, CPU, quietly)
    return config


@pytest.fixture
def open_weights(tmp_path: Path) -> str:
    """A tiny transformer in diffusers' layout, as wide as the curated data."""
    torch.manual_seed(0)
    config = DiTConfig(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, text_dim=8, ffn_dim=24,
        num_layers=2, text_padding_len=512,
    )  # fmt: skip
    dit = DiT(config)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_wan(dit, tmp_path / "wan" / "transformer")
    return str(tmp_path / "wan")


LORA = LoraConfig(rank=2, alpha=4.0)


def loaded(uri: str) -> dict[str, Tensor]:
    return checkpoint.load_model(uri)[0]


def answer(dit: DiT) -> Tensor:
    """The velocities of two clips."""
    generator = torch.Generator().manual_seed(3)
    clips = [
        Clip(torch.randn(4, frames, 4, 4, generator=generator), 0.4, torch.randn(3, 8, generator=generator))
        for frames in (1, 3)
    ]
    with torch.no_grad():
        return dit(pack(clips))


def test_all_weights_go_on_from_a_run_of_ours(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, steps=2)
    start = find_start(config, config.open_data().manifest, None)
    dit, source = first_model(config, start, None)
    ours = loaded(base.output)
    assert all(torch.equal(value, ours[name]) for name, value in dit.state_dict().items())
    train_steps(config, CPU, quietly)
    weights, meta = checkpoint.load_model(config.output)
    assert meta.base == source
    assert meta.dit == checkpoint.read_meta(checkpoint.resolve(base.output)).dit
    assert not torch.equal(weights["proj_out.weight"], ours["proj_out.weight"])


def test_a_fresh_adapter_computes_what_its_base_does(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, lora=LORA)
    start = find_start(config, config.open_data().manifest, None)
    dit, _ = first_model(config, start, None)
    plain = load_strictly(start.dit, loaded(base.output), "base")
    assert lora.has_adapter(dit)
    assert torch.equal(answer(dit), answer(plain))
    assert all("lora_" in name for name, value in dit.named_parameters() if value.requires_grad)


def test_only_the_adapter_learns_and_what_serves_is_base_and_adapter_merged(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, lora=LORA, steps=6)
    train_steps(config, CPU, quietly)
    uri = checkpoint.resolve(config.output)
    before, merged = loaded(base.output), loaded(uri)
    moved = {name for name in merged if not torch.equal(merged[name], before[name])}
    assert moved
    assert all(name.startswith("blocks.") and name.endswith(".weight") for name in moved)
    dit = checkpoint.read_meta(uri).dit
    unmerged = PeftModel.from_pretrained(
        load_strictly(DiTConfig.from_dict(dit), before, "base"), storage.join(uri, "adapter")
    )
    ours = answer(load_strictly(DiTConfig.from_dict(dit), merged, "merged"))
    torch.testing.assert_close(answer(unmerged.base_model.model), ours, rtol=1e-4, atol=1e-5)
    state = sum(item.size for item in storage.list_objects(storage.join(uri, "state")))
    whole = sum(item.size for item in storage.list_objects(storage.join(checkpoint.resolve(base.output), "state")))
    assert state < 0.6 * whole, "what is frozen isn't stored with every checkpoint"


def test_an_adapter_resumes_bit_for_bit(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, lora=LORA, steps=12)
    train_steps(config, CPU, quietly)
    once, weights = read_lines(config.output), loaded(config.output)
    for step in (8, 12):
        storage.delete(storage.join(checkpoint.step_uri(config.output, step), checkpoint.META))
    train_steps(config, CPU, quietly)
    again = read_lines(config.output)
    assert again[12]["time"] != once[12]["time"]
    assert [line["loss"] for line in again.values()] == [line["loss"] for line in once.values()]
    assert all(torch.equal(value, weights[name]) for name, value in loaded(config.output).items())


@pytest.mark.parametrize("adapter", [None, LORA], ids=["all weights", "adapter"])
def test_open_weights_are_tuned_and_come_out_in_their_own_layout(
    small_run: TrainConfig, open_weights: str, tmp_path: Path, adapter: LoraConfig | None
) -> None:
    config = tuned(small_run, tmp_path / "tuned", open_weights, lora=adapter, steps=2)
    assert check(config) == 0
    train_steps(config, CPU, quietly)
    export(ExportConfig(checkpoint=config.output, output=str(tmp_path / "out")))
    ours, theirs = load_wan(tmp_path / "out").state_dict(), loaded(config.output)
    first = load_wan(open_weights).state_dict()
    assert ours.keys() == theirs.keys() == first.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    name = "blocks.0.attn1.to_q.weight"
    assert not torch.equal(ours[name], first[name])


def test_a_tuned_model_is_trained_and_sampled_as_its_first_weights_were(
    small_run: TrainConfig, open_weights: str, tmp_path: Path
) -> None:
    """By the scheduler of the open pipeline; what is asked for goes first, and a run keeps its own."""
    whole = tmp_path / "pipeline"
    shutil.copytree(transformer_folder(open_weights), whole / "transformer")
    (whole / "scheduler").mkdir()
    (whole / "scheduler" / "scheduler_config.json").write_text('{"flow_shift": 5.0}')
    silent = small_run.model_copy(update={"shift": None, "guidance_scale": None})
    config = tuned(silent, tmp_path / "tuned", str(whole), steps=2)
    train_steps(config, CPU, quietly)
    meta = checkpoint.read_meta(checkpoint.resolve(config.output))
    assert (meta.shift, meta.shift_tokens, meta.guidance_scale) == (5.0, None, 5.0)
    assert (meta.training["shift"], meta.training["guidance_scale"]) == (5.0, 5.0)
    manifest = config.open_data().manifest
    (whole / "scheduler" / "scheduler_config.json").write_text('{"flow_shift": 3.0}')
    assert settled(config, find_start(config, manifest, meta)).shift == 5.0
    assert settled(config, find_start(config, manifest, None)).shift == 3.0
    chosen = config.model_copy(update={"shift": 2.0, "shift_tokens": 64})
    assert settled(chosen, find_start(chosen, manifest, None)).shift_law == ShiftLaw(2.0, 64)
    alone = config.model_copy(update={"init": str(whole / "transformer")})
    (whole / "scheduler" / "scheduler_config.json").unlink()
    assert settled(alone, find_start(alone, manifest, None)).shift_law == DEFAULT_SHIFT


def test_what_is_tuned_from_a_run_of_ours_keeps_its_settings(base: TrainConfig, tmp_path: Path) -> None:
    uri = checkpoint.resolve(base.output)
    own = dataclasses.replace(
        checkpoint.read_meta(uri), shift=4.0, shift_tokens=64, solver="euler", num_inference_steps=4
    )
    storage.write_bytes(storage.join(uri, checkpoint.META), own.to_json().encode())
    silent = base.model_copy(update={"shift": None, "guidance_scale": None})
    config = tuned(silent, tmp_path / "tuned", base.output, steps=2)
    train_steps(config, CPU, quietly)
    after = Sampling.of(checkpoint.read_meta(checkpoint.resolve(config.output)))
    assert after == Sampling(ShiftLaw(4.0, 64), own.guidance_scale, "euler", 4)


def _tune(config: TrainConfig) -> None:
    torch.set_num_threads(1)
    train_steps(config, CPU, quietly)


@pytest.mark.slow
def test_workers_that_share_the_weights_read_their_own_rows_of_the_first_ones(
    small_run: TrainConfig, open_weights: str, tmp_path: Path
) -> None:
    whole = tuned(small_run, tmp_path / "whole", open_weights, steps=3)
    train_steps(whole, CPU, quietly)
    shared = tuned(small_run, tmp_path / "shared", open_weights, steps=3, parallel="fsdp")
    run(2, _tune, shared)
    first, second = (checkpoint.read_meta(checkpoint.resolve(config.output)) for config in (whole, shared))
    assert first.base == second.base
    for step, line in read_lines(whole.output).items():
        assert read_lines(shared.output)[step]["loss"] == pytest.approx(line["loss"], rel=1e-5)


def test_a_model_of_our_own_layout_is_not_exported(base: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pooled_text = True"):
        export(ExportConfig(checkpoint=base.output, output=str(tmp_path / "out")))


# --- wrong input, before any step


def test_data_of_another_autoencoder_than_the_first_weights_is_refused(
    base: TrainConfig, curated: Any, tmp_path: Path
) -> None:
    curated(str(tmp_path / "other"), vae="vae-2")
    config = tuned(base, tmp_path / "tuned", base.output, data=str(tmp_path / "other"))
    with pytest.raises(FingerprintMismatch, match="latents were made by"):
        check(config)


def test_weights_that_do_not_fit_the_data_are_refused_with_numbers(small_run: TrainConfig, tmp_path: Path) -> None:
    config = DiTConfig(
        num_attention_heads=2, attention_head_dim=8, in_channels=16, out_channels=16, text_dim=8, ffn_dim=24,
        num_layers=1, text_padding_len=512,
    )  # fmt: skip
    save_wan(DiT(config), tmp_path / "wan")
    with pytest.raises(CheckpointError, match="in_channels: 16 -> 4"):
        check(tuned(small_run, tmp_path / "tuned", str(tmp_path / "wan")))


def test_sizes_that_contradict_the_first_weights_are_refused(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, model={"num_layers": 7, "activation_checkpointing": True})
    with pytest.raises(ConfigError, match=r"num_layers: 2 -> 7"):
        check(config)
    config = tuned(base, tmp_path / "tuned", base.output, model={"precondition": True})
    with pytest.raises(ConfigError, match=r"precondition .* trained without"):
        check(config)


def test_a_resumed_run_keeps_its_beginning(base: TrainConfig, tmp_path: Path) -> None:
    config = tuned(base, tmp_path / "tuned", base.output, lora=LORA, steps=4)
    train_steps(config, CPU, quietly)
    for changes, named in (({"lora": LoraConfig(rank=3, alpha=4.0)}, "rank: 2 -> 3"), ({"lora": None}, "lora")):
        with pytest.raises(CheckpointError, match=named):
            check(config.model_copy(update=changes))
    spoilt = {name: value + 1 for name, value in loaded(base.output).items()}
    checkpoint.save_model(checkpoint.resolve(base.output), spoilt, checkpoint.load_model(base.output)[1])
    with pytest.raises(CheckpointError, match="have changed since this run began"):
        train_steps(config, CPU, quietly)


def test_an_adapter_needs_something_to_adapt_and_maps_that_are_there(base: TrainConfig, tmp_path: Path) -> None:
    values = {"data": base.data, "output": "o", "steps": 1, "checkpoint_every": 1}
    with pytest.raises(ValidationError, match="give init = URI"):
        TrainConfig.model_validate(values | {"lora": {}})
    config = tuned(base, tmp_path / "tuned", base.output, lora=LoraConfig(targets=("to_x",)))
    with pytest.raises(ConfigError, match=r"\['to_x'\].*attn1\.to_q"):
        train_steps(config, CPU, quietly)
