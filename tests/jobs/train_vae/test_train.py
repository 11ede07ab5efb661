"""The job trains, goes on where it stopped, and leaves weights that load, at a tiny size on real files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from jobs.train_vae.config import LayoutConfig, TrainVaeConfig
from jobs.train_vae.footage import Footage, read_footage
from jobs.train_vae.train import train_vae
from jobs.train_vae.trainer import Trainer
from sora_core.errors import ConfigError
from sora_core.vae import VideoAutoencoder

ROOT = Path(__file__).parents[3]


def phase(**changes: object) -> dict[str, object]:
    values = {"steps": 2, "batch": 1, "frames": 5, "learning_rate": 1e-4, "rise_steps": 2, "perceptual_weight": 0}
    return values | {"ema_decay": 0.9} | changes


def tiny(output: Path, **changes: object) -> TrainVaeConfig:
    values: dict[str, object] = {
        "source": str(ROOT / "examples" / "footage"),
        "output": str(output),
        "train": ["db_coin.mov", "ph_fruits.jpg"],
        "held_out": ["fx_lego.webm"],
        "layout": LayoutConfig(base_dim=12, z_dim=8),
        "trunk_steps": 2,
        "trunk_batch": 1,
        "side": 48,
        "phases": [phase(), phase(frames=9, batch=2, perceptual_weight=0.1)],
        "precision": "float32",
        "checkpoint_every": 2,
        "measured_side": 48,
        "measured_frames": 5,
    }
    return TrainVaeConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def footage() -> Footage:
    return read_footage(tiny(Path("unused")))


def test_files_are_apart_and_photographs_have_one_frame(footage: Footage) -> None:
    assert set(footage.train) == {"db_coin.mov", "ph_fruits.jpg"}
    assert set(footage.held_out) == {"fx_lego.webm"}
    assert [len(run) for run in footage.train["ph_fruits.jpg"]] == [1]
    assert len(footage.train["db_coin.mov"]) > 1


def test_training_lowers_the_loss(footage: Footage) -> None:
    """From random weights, on one file: there is far to go, so a few steps show."""
    steps = [phase(steps=16, learning_rate=4e-3)]
    config = tiny(Path("unused"), warm_start=False, ssim_weight=0, world_share=0, phases=steps)
    trainer = Trainer(config, {"db_coin.mov": footage.train["db_coin.mov"]})
    trainer.start()
    losses = [trainer.advance()["reconstruction"] for _ in range(16)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(footage: Footage) -> None:
    config = tiny(Path("unused"))
    whole, begun, resumed = (Trainer(config, footage.train) for _ in range(3))
    whole.start()
    begun.start()
    expected = [whole.advance() for _ in range(4)]
    assert [begun.advance() for _ in range(2)] == expected[:2]
    resumed.load_state_dict(begun.state_dict())
    assert [resumed.advance() for _ in range(2)] == expected[2:]
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, resumed.average.state_dict()[name]), name


@pytest.mark.slow
def test_the_job_leaves_weights_that_load_and_a_card(tmp_path: Path) -> None:
    train_vae(tiny(tmp_path))
    vae = VideoAutoencoder.load(str(tmp_path))
    latent = vae.encode(torch.zeros(1, 3, 5, 32, 32)).mean
    assert vae.decode(latent).isfinite().all()
    card = (tmp_path / "vae" / "README.md").read_text()
    for part in ("PCA", "this one", "db_coin.mov, ph_fruits.jpg", "fx_lego.webm", "float16"):
        assert part in card
    texts = [path.read_text() for path in sorted((tmp_path / "metrics").iterdir())]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["perceptual"] > 0 for line in lines] == [False, False, True, True]
    picture = cv2.imread(str(tmp_path / "vae" / "reconstructions.png"))
    assert picture.shape[0] == 3 * 48
    assert np.ptp(picture) > 0
    before = (tmp_path / "vae" / "model.safetensors").read_bytes()
    train_vae(tiny(tmp_path))
    assert (tmp_path / "vae" / "model.safetensors").read_bytes() == before
    with pytest.raises(ConfigError, match="other values of seed, side"):
        train_vae(tiny(tmp_path, seed=1, side=56))


def test_a_source_without_such_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no readable video of 9 frames.*change the patterns or the source"):
        read_footage(tiny(tmp_path, train=["nothing*"]))
    with pytest.raises(ConfigError, match=r"held_out = \['ph_fruits.jpg'\]"):
        read_footage(tiny(tmp_path, held_out=["ph_fruits.jpg"]))


def test_a_number_of_frames_that_no_latent_fits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"8 frames.*takes 5, 9, 13"):
        tiny(Path("unused"), phases=[phase(frames=8)])
