"""Weights come in strictly, or with an error that names what is wrong and what to do."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sora_core import storage
from sora_core.errors import CheckpointError
from sora_core.vae import VideoAutoencoder, folder

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """A copy of the published vae/ folder to spoil."""
    return Path(shutil.copytree(published / "vae", tmp_path / "copy"))


def test_a_pipeline_folder_and_its_vae_folder_are_one_autoencoder(published: Path) -> None:
    pipeline = VideoAutoencoder.load(str(published))
    assert VideoAutoencoder.load(str(published / "vae")).fingerprint == pipeline.fingerprint
    assert (pipeline.channels, pipeline.compression.time, pipeline.compression.space) == (4, 4, 8)


def test_a_bucket_holds_the_same_autoencoder(published: Path, s3: str) -> None:
    storage.upload_folder(published / "vae", s3)
    loaded = VideoAutoencoder.load(s3)
    assert loaded.fingerprint == VideoAutoencoder.load(str(published)).fingerprint
    assert loaded.source == s3


def test_the_residual_layout_loads_with_its_own_compression(tmp_path: Path) -> None:
    """Wan 2.2's: patches of two pixels before sixteen times in space."""
    model = folder.new_model(
        base_dim=8,
        z_dim=6,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        is_residual=True,
        temperal_downsample=[False, True, True],
        patch_size=2,
        in_channels=12,
        out_channels=12,
    )
    folder.write_model(model, tmp_path, torch.float32)
    vae = VideoAutoencoder.load(str(tmp_path))
    assert (vae.compression.time, vae.compression.space, vae.channels) == (4, 16, 6)
    video = torch.rand(1, 3, 9, 32, 32) * 2 - 1
    latent = vae.encode(video).mean
    torch.testing.assert_close(latent, model.encode(video).latent_dist.mean)
    torch.testing.assert_close(vae.decode(latent), model.decode(latent).sample)


def test_what_was_written_is_read_back(published: Path, tmp_path: Path) -> None:
    model = folder.read_model(published / "vae")
    folder.write_model(model, tmp_path, torch.float32)
    again = folder.read_model(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert folder.read_config(tmp_path) == folder.read_config(published / "vae")


def test_a_changed_weight_or_option_changes_the_fingerprint(copy: Path) -> None:
    before = folder.fingerprint(copy)
    weights = load_file(copy / WEIGHTS)
    weights["quant_conv.bias"] += 1e-3
    save_file(weights, copy / WEIGHTS)
    changed = folder.fingerprint(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dropout": 0.1}))
    assert len({before, changed, folder.fingerprint(copy)}) == 3


def test_missing_surplus_and_misshapen_weights_are_all_named(copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    del weights["encoder.conv_in.bias"]
    weights["decoder.extra.weight"] = torch.zeros(1)
    weights["quant_conv.bias"] = torch.zeros(3)
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(CheckpointError) as caught:
        VideoAutoencoder.load(str(copy))
    for part in ("1 missing: encoder.conv_in.bias", "1 surplus: decoder.extra.weight", "quant_conv.bias", "fetch"):
        assert part in str(caught.value)


def test_another_class_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"_class_name": "AutoencoderKLMochi"}))
    with pytest.raises(CheckpointError, match="'AutoencoderKLMochi'; this loads AutoencoderKLWan"):
        VideoAutoencoder.load(str(copy))


def test_an_option_of_another_version_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"warp": 9}))
    with pytest.raises(CheckpointError, match="doesn't know: warp"):
        VideoAutoencoder.load(str(copy))


def test_a_folder_without_weights_or_config_says_so(copy: Path) -> None:
    (copy / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"no diffusion_pytorch_model.safetensors or model.safetensors"):
        VideoAutoencoder.load(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no readable config.json"):
        VideoAutoencoder.load(str(copy))


def test_a_name_that_is_nowhere_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither a folder nor a hub id.*'default'"):
        VideoAutoencoder.load(str(tmp_path / "nowhere"))


def test_the_shipped_weights_fit_in_twenty_megabytes() -> None:
    files = list((Path(folder.__file__).parent / "weights").iterdir())
    assert {"config.json", "model.safetensors", "README.md"} <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) < 20e6
