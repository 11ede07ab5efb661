from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sora_core import shards
from sora_core.errors import CheckpointError, FingerprintMismatch, MissingObject
from sora_core.shapes import Compression, PixelShape
from sora_core.shards import Encoder, Manifest, Provenance, Row, Totals


def make_row(number: int) -> Row:
    random = np.random.default_rng(number)
    shape = (4, 1 + number % 3, 2 + number % 2, 4)
    return Row(
        clip_id=f"clip-{number}", uri=f"s3://b/{number}.mp4", etag="e", start_s=0.0, end_s=1.5, fps=24.0,
        pixels=PixelShape(1 + number % 3 * 4, 8 * shape[2], 32), split="train" if number % 5 else "val",
        caption=f"caption {number}", licence=None if number % 2 else "CC0-1.0",
        made=Provenance(8 * shape[2] + 2, 33, 1, 0, "vae", "float32", "text", "sidecar", "filters", 1),
        latent_mean=random.normal(size=shape).astype(np.float16),
        latent_std=random.random(shape).astype(np.float16),
        text=random.normal(size=(number % 7, 6)).astype(np.float16),
    )  # fmt: skip


def make_manifest(*found: shards.Shard) -> Manifest:
    return Manifest(
        vae=Encoder("default", "a" * 64), text_encoder=Encoder("default", "b" * 64), compression=Compression(),
        channels=4, text_dim=6, whitening_mean=(0.0,) * 4, whitening_std=(1.0,) * 4, null_text=((0.5,) * 6,),
        shards=found, totals=Totals(clips=sum(shard.rows for shard in found)), created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


def assert_same(a: Row, b: Row) -> None:
    for name in Row.__slots__:
        left, right = getattr(a, name), getattr(b, name)
        assert np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right, name


def test_rows_come_back_bit_for_bit_whole_or_picked_in_any_order(tmp_path: Path) -> None:
    rows = [make_row(i) for i in range(104)]
    shard = shards.write_shard(rows, str(tmp_path), "latents/0.parquet")
    for written, read in zip(rows, shards.read_rows(str(tmp_path), shard), strict=True):
        assert_same(written, read)
    numbers = [99, 3, 64, 3]
    for number, read in zip(numbers, shards.read_rows(str(tmp_path), shard, numbers), strict=True):
        assert_same(rows[number], read)
    assert shards.read_rows(str(tmp_path), shard, []) == []


def test_a_manifest_survives_json(tmp_path: Path) -> None:
    manifest = make_manifest(shards.Shard("latents/0.parquet", 3, 100, "c" * 64))
    shards.write_manifest(manifest, str(tmp_path))
    assert shards.read_manifest(str(tmp_path)) == manifest


def test_a_manifest_of_another_version_is_refused() -> None:
    data = shards.to_json(make_manifest()).replace(b'"version": 2', b'"version": 99')
    with pytest.raises(CheckpointError, match="version 99"):
        shards.from_json(data)


def test_a_missing_manifest_says_to_curate_first(tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"run jobs\.curate"):
        shards.read_manifest(str(tmp_path))


def test_latents_of_another_vae_are_refused_by_name() -> None:
    with pytest.raises(FingerprintMismatch, match="latents were made by 'default'"):
        make_manifest().check_encoders(vae="f" * 64, text_encoder="b" * 64)


def test_plain_pyarrow_reads_the_tensors(tmp_path: Path) -> None:
    shard = shards.write_shard([make_row(1)], str(tmp_path), "0.parquet")
    row = pq.read_table(tmp_path / shard.path).to_pylist()[0]
    assert np.array_equal(np.reshape(row["latent_mean"], row["latent_shape"]), make_row(1).latent_mean)


def test_duckdb_reads_the_shards(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = [make_row(i) for i in range(6)]
    shards.write_shard(rows[:4], str(tmp_path), "a.parquet")
    shards.write_shard(rows[4:], str(tmp_path), "b.parquet")
    found = duckdb.sql(
        f"select clip_id, caption, vae, len(latent_mean), latent_mean[1] from '{tmp_path}/*.parquet' order by clip_id"
    ).fetchall()
    assert found == [
        (row.clip_id, row.caption, row.made.vae, row.latent_mean.size, float(row.latent_mean.flat[0])) for row in rows
    ]


def test_datasets_reads_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    row = make_row(1)
    shards.write_shard([row], str(tmp_path), "a.parquet")
    [found] = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert found["caption"] == row.caption
    assert np.array_equal(np.reshape(found["latent_mean"], found["latent_shape"]), row.latent_mean)
