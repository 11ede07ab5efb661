"""What comes with the project is whole, small, of nobody's machine, and fits the models that come with it."""

from pathlib import Path

from sora_core import checkpoint
from sora_core.checkpoint import META, MODEL
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import load_strictly
from sora_core.shipped import TINY
from sora_core.training.masks import SHARES
from sora_core.vae.folder import DEFAULT


def test_the_shipped_model_loads_strictly_and_is_small() -> None:
    weights, meta = checkpoint.load_model(TINY)
    dit = load_strictly(DiTConfig.from_dict(meta.dit), weights, TINY)
    assert dit.config.data_variance is not None
    assert meta.whitening.later_mean is not None
    assert sum(path.stat().st_size for path in Path(TINY).iterdir()) <= 20e6


def test_it_learned_every_edit_and_names_no_machine() -> None:
    meta = checkpoint.read_meta(TINY)
    assert set(SHARES) | {"reference"} <= set(meta.given)
    assert (meta.vae.source, meta.text_encoder.source) == (DEFAULT, "default")
    text = (Path(TINY) / META).read_text()
    assert "/tmp" not in text
    assert "://" not in text


def test_its_card_lies_beside_it() -> None:
    assert {MODEL, META, "README.md"} <= {path.name for path in Path(TINY).iterdir()}
