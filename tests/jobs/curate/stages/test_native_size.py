"""Footage keeps its shape: no square is cut out of it, nothing is stretched, nothing is made larger."""

from math import prod
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.measure.split import cut_out
from jobs.curate.stages.examine import examine
from jobs.curate.stages.pixels import decode_pixels
from sora_core.media import encode_mp4, write_image

ASPECTS = (
    (1, 4),
    (1, 3),
    (1, 2),
    (9, 16),
    (2, 3),
    (3, 4),
    (1, 1),
    (4, 3),
    (3, 2),
    (16, 9),
    (2, 1),
    (21, 9),
    (3, 1),
    (4, 1),
)


@given(st.integers(64, 4096), st.floats(0.25, 4), st.sampled_from([64**2, 256**2, 480 * 832, 2048**2]))
def test_a_side_loses_less_than_16_pixels_and_keeps_its_scale(height: int, aspect: float, max_area: int) -> None:
    width = max(64, min(4096, round(height * aspect)))
    cut = cut_out(height, width, (0.0, 0.0, 0.0, 0.0), max_area)
    scale = min(1.0, (max_area / (height * width)) ** 0.5)
    for stored, scaled, native in ((cut.height, cut.scaled_height, height), (cut.width, cut.scaled_width, width)):
        assert stored % 16 == 0
        assert 0 <= scaled - stored < 16
        assert abs(scaled - native * scale) <= 1
    assert cut.height * cut.width <= max_area


def ringed(height: int, width: int) -> np.ndarray:
    """A grey picture with a white disc in its middle."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[::2, ::2] = 60
    return cv2.circle(picture, (width // 2, height // 2), min(height, width) // 3, (255, 255, 255), -1)


def stored(path: Path, config: CurateConfig) -> np.ndarray:
    [source] = [source for source in make_plan(config, {}).sources if source.uri.endswith(path.name)]
    row = examine(source, config)
    [clip] = row.clips
    assert clip.status == "kept", clip.reason
    [pixels] = decode_pixels(path, row.kind, [clip])
    return pixels


@pytest.mark.parametrize("aspect", ASPECTS, ids=lambda aspect: f"{aspect[0]}x{aspect[1]}")
@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_a_disc_stays_a_disc_at_every_aspect(
    aspect: tuple[int, int], kind: str, config: CurateConfig, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"disc.{kind}"
    unit = (240 * 240 / prod(aspect)) ** 0.5
    width, height = (round(side * unit) // 2 * 2 for side in aspect)
    picture = ringed(height, width)
    if kind == "png":
        write_image(path, picture)
    else:
        encode_mp4(path, [picture] * 5, 8)
    frames = stored(path, config.model_copy(update={"captioner": "describer", "max_area": 128 * 128}))
    rows, columns = frames.shape[1:3]
    assert 0.7 < (columns / rows) / (width / height) < 1 / 0.7, "up to 15 pixels of 64 or more are cut"
    bright = frames[0].mean(axis=-1) > 180
    down, across = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert abs(int(down) - int(across)) <= 2


@pytest.mark.parametrize("size", [(2048, 2048), (1024, 2048), (2048, 512)])
def test_a_large_photograph_is_stored_pixel_for_pixel(
    size: tuple[int, int], config: CurateConfig, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    picture = ringed(*size)
    write_image(tmp_path / "in" / "large.png", picture)
    native = config.model_copy(update={"captioner": "describer", "max_area": 2048 * 2048})
    np.testing.assert_array_equal(stored(tmp_path / "in" / "large.png", native)[0], picture)
