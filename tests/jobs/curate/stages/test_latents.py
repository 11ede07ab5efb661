"""Latents, captions and text states belong to the clip whose row they are in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.rows import Examined
from jobs.curate.stages.examine import examine
from jobs.curate.stages.latents import LatentEncoder, split_of
from sora_core.errors import SoraError
from sora_core.shapes import Compression
from sora_core.shards import Row
from sora_core.text import TextEncoder
from sora_core.vae import Posterior, Tiling, VideoAutoencoder
from tests.jobs.curate.stripes import COLOURS


@pytest.fixture(scope="module")
def vae() -> VideoAutoencoder:
    return VideoAutoencoder.load()


@pytest.fixture
def examined(verdicts: dict[str, tuple[str, str | None]], config: CurateConfig) -> list[Examined]:
    return [examine(source, config) for source in make_plan(config, {}).sources]


def encode(config: CurateConfig, examined: list[Examined]) -> tuple[list[Row], dict[str, str]]:
    failures: dict[str, str] = {}
    return list(LatentEncoder(config, "cpu").rows(examined, failures)), failures


def test_no_caption_slips_to_a_neighbour(
    examined: list[Examined],
    config: CurateConfig,
    vae: VideoAutoencoder,
) -> None:
    """Dropped and failed clips stand between the kept ones, and shapes are batched across sources; still the colour
    that a row's caption names is the colour that its latents decode to, and its text states are the caption's."""
    rows, failures = encode(config.model_copy(update={"clips_per_batch": 3}), examined)
    assert failures == {}
    assert len(rows) == 9
    text = TextEncoder.load()
    for row in rows:
        assert Path(row.uri).stem.startswith(row.caption.split()[0])
        decoded = vae.decode(torch.from_numpy(row.latent_mean.astype(np.float32))[None])
        mean = (decoded.mean(dim=(0, 2, 3, 4)).numpy() + 1) * 127.5
        distance = {name: np.linalg.norm(mean - 0.75 * np.array(colour)) for name, colour in COLOURS.items()}
        assert min(distance, key=lambda name: distance[name]) == row.caption.split()[0]
        [states] = text.encode([row.caption])
        np.testing.assert_allclose(row.text, states.numpy(), atol=5e-3)
    assert {row.clip_id for row in rows} == {
        clip.clip_id for source in examined for clip in source.clips if clip.status == "kept"
    }


def test_rows_carry_the_shapes_that_were_planned(
    examined: list[Examined], config: CurateConfig, vae: VideoAutoencoder
) -> None:
    rows, _ = encode(config, examined)
    for row in rows:
        latent = Compression().latent(row.pixels, vae.channels)
        assert row.latent_mean.shape == row.latent_std.shape == latent.as_tuple()
        assert row.pixels.height * row.pixels.width <= config.max_area
        assert row.end_s - row.start_s == pytest.approx(row.pixels.frames / 8 if row.pixels.frames > 1 else 0)
        assert row.licence == "CC0-1.0"
        assert float(row.latent_std.min()) > 0


def test_the_same_part_gives_the_same_bits(examined: list[Examined], config: CurateConfig) -> None:
    first, _ = encode(config, examined)
    second, _ = encode(config, examined)
    for a, b in zip(first, second, strict=True):
        assert a.clip_id == b.clip_id
        np.testing.assert_array_equal(a.latent_mean, b.latent_mean)
        np.testing.assert_array_equal(a.text, b.text)


def test_a_file_that_vanishes_or_is_replaced_on_the_way_costs_its_own_clips_only(
    examined: list[Examined], config: CurateConfig
) -> None:
    stripes = Path(config.source)
    (stripes / "red-64.mp4").unlink()
    (stripes / "blue-64.mp4").write_bytes(b"replaced")
    rows, failures = encode(config, examined)
    assert len(rows) == 7
    assert sorted(failures.values()) == ["object_missing", "object_replaced"]


def test_a_source_lies_on_one_side_of_the_split() -> None:
    sides = [split_of(f"etag-{i}", 0.2) for i in range(2000)]
    assert sides.count("val") / len(sides) == pytest.approx(0.2, abs=0.03)
    assert sides == [split_of(f"etag-{i}", 0.2) for i in range(2000)]
    assert {split_of(f"etag-{i}", 0.0) for i in range(100)} == {"train"}


def test_an_encode_error_and_a_latent_that_is_no_number_cost_their_own_clip(
    examined: list[Examined], config: CurateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VideoAutoencoder.encode

    def faulty(self: VideoAutoencoder, pixels: Tensor, tiling: Tiling) -> Posterior:
        mean = pixels.mean(dim=(2, 3, 4))
        if (mean[:, 0] > mean[:, 1:].amax(1) + 0.2).any():  # red
            raise RuntimeError("CUDA out of memory")
        posterior = whole(self, pixels, tiling)
        blue = mean[:, 2] > mean[:, :2].amax(1) + 0.2
        posterior.mean[blue] = float("nan")
        return posterior

    monkeypatch.setattr(VideoAutoencoder, "encode", faulty)
    rows, failures = encode(config.model_copy(update={"clips_per_batch": 4}), examined)
    names = {clip.clip_id: Path(row.source.uri).stem for row in examined for clip in row.clips}
    found = {names[clip_id]: reason for clip_id, reason in failures.items()}
    assert {name.partition("-")[0]: reason for name, reason in found.items()} == {
        "red": "encode_failed",
        "blue": "latents_not_finite",
    }
    assert len(rows) + len(failures) == 9
    assert not any(name in found for name in (Path(row.uri).stem for row in rows))
    with pytest.raises(SoraError, match="encode_failed, as 2 in a row"):
        encode(config.model_copy(update={"max_faults_in_a_row": 2}), [r for r in examined if "red" in r.source.uri])
