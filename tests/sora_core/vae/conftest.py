"""Small networks of the published class, and real frames."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sora_core import media
from sora_core.vae import VideoAutoencoder

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def vae(published: Path) -> VideoAutoencoder:
    return VideoAutoencoder.load(str(published))


@pytest.fixture(scope="session")
def shipped() -> VideoAutoencoder:
    return VideoAutoencoder.load()


def clips_of(name: str, num: int = 4) -> Tensor:
    """(num, 3, 9, 128, 128) in [-1, 1], spread over the first seconds of a shipped file."""
    path = ROOT / "examples" / "footage" / name
    starts = [0.5 + number for number in range(num)]
    runs = [media.decode_clip(path, start, size=(128, 224), max_frames=9) for start in starts]
    clips = torch.stack([torch.from_numpy(run[:, :, 48:176]) for run in runs])
    return clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.fixture(scope="session")
def real_clips() -> Tensor:
    """Of a file that the shipped weights were never trained on."""
    return clips_of("fx_lego.webm")


@pytest.fixture(scope="session")
def other_clips() -> Tensor:
    """Of files that they were trained on."""
    return torch.cat([clips_of(name) for name in ("a_station_vfr.mp4", "oh_flower_720.264", "db_coin.mov")])


@pytest.fixture
def trained_layout() -> dict[str, object]:
    """The layout of the shipped weights at a small width."""
    return {
        "base_dim": 16,
        "z_dim": 8,
        "dim_mult": [1, 2, 4],
        "num_res_blocks": 1,
        "temperal_downsample": [True, True],
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
    }


@pytest.fixture
def noise_video() -> Tensor:
    return torch.rand(2, 3, 13, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
