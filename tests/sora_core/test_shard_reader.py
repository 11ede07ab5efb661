from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sora_core import shards, storage
from sora_core.errors import CorruptShard, MissingObject
from sora_core.shapes import Compression, LatentShape
from sora_core.shard_reader import ShardReader
from sora_core.shards import Provenance, Row, Shard

NAME = "latents/0.parquet"


def make_row(number: int, side: int = 4) -> Row:
    rng = np.random.default_rng(number)
    shape = LatentShape(4, 1 + number % 3, side, side)
    pixels = Compression().pixels(shape)
    return Row(
        clip_id=f"clip-{number}", uri="s3://b/1.mp4", etag="e", start_s=1.0, end_s=2.5, fps=24.0, pixels=pixels,
        split="train" if number % 5 else "val", caption=f"caption {number}", licence="CC0-1.0" if number % 2 else None,
        made=Provenance(pixels.height, pixels.width, 0, 0, "vae", "float32", "text", "table", "filters", 1),
        latent_mean=rng.normal(size=shape.as_tuple()).astype(np.float16),
        latent_std=rng.random(shape.as_tuple()).astype(np.float16),
        text=rng.normal(size=(1 + number % 3, 6)).astype(np.float16),
    )  # fmt: skip


def write(folder: Path, count: int = 100, side: int = 4) -> Shard:
    return shards.write_shard([make_row(number, side) for number in range(count)], str(folder), NAME)


def test_groups_bring_the_rows_in_their_order(tmp_path: Path) -> None:
    reader = ShardReader.open(str(tmp_path), write(tmp_path))
    assert reader.group_rows == [64, 36]
    rows = [row for group in (0, 1) for row in reader.rows(group)]
    assert [row.clip_id for row in rows] == [f"clip-{number}" for number in range(100)]
    for number, row in enumerate(rows):
        assert np.array_equal(row.latent_mean, make_row(number).latent_mean)
        assert np.array_equal(row.text, make_row(number).text)


def test_a_group_holds_fewer_rows_the_larger_they_are(tmp_path: Path) -> None:
    reader = ShardReader.open(str(tmp_path), write(tmp_path, count=12, side=160))
    assert reader.group_rows == [1] * 12, "a clip over a MiB is a group of its own"


def test_the_footer_alone_says_what_a_plan_needs(tmp_path: Path) -> None:
    shard = write(tmp_path)
    path = tmp_path / NAME
    data = path.read_bytes()
    path.write_bytes(bytes(len(data) // 2) + data[len(data) // 2 :])
    index = ShardReader.open(str(tmp_path), shard).index()
    assert tuple(index.column_names) == shards.INDEX_COLUMNS
    assert index["latent_shape"].to_pylist() == [list(make_row(number).latent_mean.shape) for number in range(100)]
    assert index["split"].to_pylist() == [make_row(number).split for number in range(100)]


def test_two_requests_bring_a_group_from_a_real_server(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = shards.write_shard([make_row(number) for number in range(80)], s3, NAME)
    asked = []
    real = storage.read_range
    monkeypatch.setattr(storage, "read_range", lambda uri, start, length: asked.append(uri) or real(uri, start, length))
    assert ShardReader.open(s3, shard).rows(1)[-1].clip_id == "clip-79"
    assert asked == [storage.join(s3, NAME)] * 2
    assert storage.read_range(storage.join(s3, NAME), shard.size_bytes + 5, 10) == b""


@pytest.mark.parametrize("at", [0.2, 0.5])
def test_one_flipped_bit_is_found_and_the_file_named(tmp_path: Path, at: float) -> None:
    reader = ShardReader.open(str(tmp_path), write(tmp_path))
    path = tmp_path / NAME
    data = bytearray(path.read_bytes())
    start, end = reader._span(0)
    data[start + int(at * (end - start))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShard, match=NAME):
        reader.rows(0)
    assert len(reader.rows(1)) == 36, "the other groups are whole"


def test_a_file_cut_short_longer_or_of_something_else_is_named(tmp_path: Path) -> None:
    shard = write(tmp_path)
    path = tmp_path / NAME
    data = path.read_bytes()
    for wrong in (data[: len(data) // 2], data + bytes(300_000), b"", b"hello" * 10_000):
        path.write_bytes(wrong)
        with pytest.raises(CorruptShard, match=NAME):
            ShardReader.open(str(tmp_path), shard)
    path.write_bytes(data)
    with pytest.raises(CorruptShard, match="has 100 rows, its manifest says 99"):
        ShardReader.open(str(tmp_path), replace(shard, rows=99))


def test_a_file_that_is_not_there_is_missing_not_corrupt(tmp_path: Path) -> None:
    shard = write(tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(MissingObject, match=NAME):
        ShardReader.open(str(tmp_path), shard)
