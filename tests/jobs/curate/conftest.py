"""Small footage and a small config."""

from pathlib import Path

import numpy as np
import pytest

from jobs.curate.config import CurateConfig
from jobs.launch import load_config
from sora_core.media import encode_mp4

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}


@pytest.fixture(scope="session")
def colours() -> dict[str, tuple[int, int, int]]:
    """RGB of each colour that a caption of `stripes` names."""
    return COLOURS


@pytest.fixture
def config(tmp_path: Path) -> CurateConfig:
    """The laptop default, from one folder to another."""
    places = [f"source={tmp_path / 'in'}", f"output={tmp_path / 'out'}"]
    return load_config("curate", CurateConfig, ["--set", *places])


def moving_stripes(colour: tuple[int, int, int], frames: int, size: tuple[int, int], speed: int = 2) -> np.ndarray:
    """Stripes of a colour and of half its brightness that move sideways: sharp, in motion, and of a known mean."""
    x = np.arange(size[1])
    bright = np.stack([((x + speed * t) // 8 % 2)[None].repeat(size[0], 0) for t in range(frames)])
    return (np.array(colour) * (0.5 + 0.5 * bright[..., None])).astype(np.uint8)


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """A folder of captioned clips of several colours, shapes and lengths, and what else lies in a bucket."""
    folder = tmp_path / "in"
    folder.mkdir()
    lines = ["file,caption,licence"]
    for number, (name, colour) in enumerate(sorted(COLOURS.items())):
        for size in ((64, 64), (48, 80)):
            file = f"{name}-{size[0]}.mp4"
            encode_mp4(folder / file, moving_stripes(colour, 9 + 8 * (number % 2), size), 8)
            lines.append(f"{file},{name} stripes,CC0-1.0")
    encode_mp4(folder / "black.mp4", np.zeros((9, 64, 64, 3), np.uint8), 8)
    encode_mp4(folder / "wordless.mp4", moving_stripes((200, 200, 90), 9, (64, 64)), 8)
    encode_mp4(folder / "short.mp4", moving_stripes((90, 200, 200), 3, (64, 64)), 8)
    (folder / "broken.mp4").write_bytes((folder / "red-64.mp4").read_bytes()[:40])
    (folder / "empty.mp4").touch()
    (folder / "strange").write_bytes(b"no picture at all")
    (folder / "notes.md").write_text("# notes")
    lines += ["black.mp4,nothing,", "short.mp4,too short,"]
    (folder / "captions.csv").write_text("\n".join(lines))
    return folder
