import json
from pathlib import Path

import pytest
import torch

from sora_core import checkpoint, storage
from sora_core.checkpoint import ChannelStatistics, DataSummary, Meta
from sora_core.errors import CheckpointError
from sora_core.shapes import Compression
from sora_core.shards import Encoder


def meta(step: int = 7) -> Meta:
    return Meta(
        step=step,
        dit={"num_layers": 2},
        vae=Encoder("default", "ab"),
        text_encoder=Encoder("default", "cd"),
        whitening=ChannelStatistics((0.5, 1 / 3), (1.0, 2.0)),
        compression=Compression(),
        fps=24.0,
        max_tokens=80,
        given=("first_frame",),
        shift=6.0,
        guidance_scale=1.5,
        base=None,
        git_revision=None,
        training={"steps": 10, "optimizer": {"lr": 1e-3}},
        data=DataSummary("s3://b/d", 3, 1.5, {"CC0": 2, "unknown": 1}),
    )


def save(run: Path, step: int) -> str:
    uri = checkpoint.step_uri(str(run), step)
    checkpoint.save_model(uri, {"w": torch.arange(6.0).view(2, 3).T}, meta(step))
    return uri


def test_meta_survives_json_to_the_last_bit() -> None:
    assert Meta.from_json(meta().to_json()) == meta()


def test_a_meta_from_before_given_masks_were_told_says_them_by_its_config() -> None:
    values = json.loads(meta().to_json())
    del values["given"], values["base"]
    values["training"]["given"] = {"first_frame": 0.1, "prefix": 0.0}
    assert Meta.from_json(json.dumps(values)).given == ("first_frame",)


def test_weights_and_meta_come_back(tmp_path: Path) -> None:
    uri = save(tmp_path, 7)
    weights, read = checkpoint.load_model(uri)
    assert torch.equal(weights["w"], torch.arange(6.0).view(2, 3).T)
    assert read == meta(7)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda values: values.pop("fps"), "missing fps"),
        (lambda values: values.update(colour=1), "unknown colour"),
        (lambda values: values["vae"].pop("fingerprint"), "vae: missing fingerprint"),
        (lambda values: values["whitening"].update(mean=[0.1, "x"]), "whitening: mean: 'x'"),
        (lambda values: values.update(step="7"), "step: '7'"),
        (lambda values: values.update(vae=[]), "vae: expected an object"),
        (lambda values: values.update(base={"source": "x"}), "base: missing fingerprint"),
    ],
)
def test_a_key_or_value_that_does_not_belong_is_named(edit, named: str) -> None:  # type: ignore[no-untyped-def]
    values = json.loads(meta().to_json())
    edit(values)
    with pytest.raises(CheckpointError, match=named):
        Meta.from_json(json.dumps(values))


def test_the_newest_whole_checkpoint_is_found_though_later_ones_are_half_written(tmp_path: Path) -> None:
    save(tmp_path, 9)
    good = save(tmp_path, 10)
    storage.delete(storage.join(save(tmp_path, 11), checkpoint.META))
    storage.write_bytes(storage.join(checkpoint.step_uri(str(tmp_path), 100), "state", "rank-0.pt"), b"half")
    assert [found.step for found in checkpoint.list_checkpoints(str(tmp_path))] == [9, 10]
    assert checkpoint.latest(str(tmp_path)) == good


def test_a_checkpoint_is_not_whole_while_it_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 3)

    def disk_full(path: Path, uri: str) -> None:
        raise OSError("full")

    monkeypatch.setattr(storage, "upload", disk_full)
    with pytest.raises(OSError, match="full"):
        save(tmp_path, 3)
    assert checkpoint.latest(str(tmp_path)) is None


def test_a_run_a_checkpoints_folder_and_a_checkpoint_all_lead_to_the_weights(tmp_path: Path) -> None:
    newest = save(tmp_path, 2)
    for uri in (str(tmp_path), f"{tmp_path}/checkpoints", newest, newest + "/"):
        assert checkpoint.resolve(uri) == newest


def test_a_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    assert checkpoint.latest(str(tmp_path / "nowhere")) is None
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        checkpoint.load_model(str(tmp_path))


def test_damaged_weights_are_refused_by_name(tmp_path: Path) -> None:
    uri = save(tmp_path, 1)
    Path(uri, checkpoint.MODEL).write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=checkpoint.MODEL):
        checkpoint.load_model(uri)


def test_a_meta_from_before_sampling_was_told_keeps_the_shifts_law_and_the_defaults_of_then() -> None:
    values = json.loads(meta().to_json())
    del values["shift_tokens"], values["solver"], values["num_inference_steps"]
    values["training"]["shift_tokens"] = 1024
    told = Meta.from_json(json.dumps(values))
    assert (told.shift, told.shift_tokens, told.solver, told.num_inference_steps) == (6.0, 1024, "ab2", 30)
