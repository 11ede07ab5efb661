"""Small footage and a small config."""

from pathlib import Path

import pytest

from jobs.curate.config import CurateConfig
from jobs.launch import load_config

from .stripes import write_footage


@pytest.fixture
def config(tmp_path: Path) -> CurateConfig:
    """The laptop default, from one folder to another; only people's words count."""
    places = [f"source={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "captioner=none"]
    return load_config("curate", CurateConfig, ["--set", *places])


@pytest.fixture
def verdicts(tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    """The made footage in the config's source, and what it deserves."""
    (tmp_path / "in").mkdir()
    return write_footage(tmp_path / "in")
