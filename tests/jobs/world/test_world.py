"""The rendered bucket holds what its table says, and a second run adds nothing."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.launch import load_config, run
from jobs.world.config import WorldConfig
from jobs.world.write import CAPTIONS, write_world
from sora_core import storage
from sora_core.errors import ConfigError, InputError
from sora_core.media import decode_clip, decode_image, probe
from sora_core.world.readback import read, score
from sora_core.world.scene import held_out
from sora_core.world.words import parse


def config(output: str, **changes: Any) -> WorldConfig:
    base = load_config("world", WorldConfig, ["--set", f"output={output}", "num_clips=12", "num_processes=1"])
    values = base.model_dump() | {"sizes": {"64x64": 1, "112x48": 1}, "frames": {1: 1, 5: 1, 9: 1}} | changes
    return WorldConfig.model_validate(values)


def contents(output: str) -> dict[str, bytes]:
    return {storage.name(item.uri): storage.read_bytes(item.uri) for item in storage.list_objects(output + "/")}


def table(output: str) -> list[dict[str, str]]:
    text = storage.read_bytes(storage.join(output, CAPTIONS)).decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    output = str(tmp_path_factory.mktemp("world") / "out")
    write_world(config(output))
    return output


def test_every_file_shows_what_its_caption_says(world: str) -> None:
    rows = table(world)
    assert {row["file"] for row in rows} | {CAPTIONS, "config.json"} == set(contents(world))
    assert {Path(row["file"]).suffix for row in rows} == {".mp4", ".png"}
    for row in rows:
        path, truth = Path(world) / row["file"], parse(row["caption"])
        still = path.suffix == ".png"
        frames = decode_image(path)[None] if still else decode_clip(path)
        assert (truth.direction is None) == still
        assert all(score(read(frames), truth).values()), row
        assert not held_out(truth)
        assert row["licence"] == "CC0-1.0"


def test_a_clip_has_the_rate_and_length_of_the_config(world: str) -> None:
    for path in sorted(Path(world).glob("*.mp4")):
        info = probe(path)
        assert info.fps == 8
        assert len(decode_clip(path)) in (5, 9)


def test_a_second_run_writes_nothing(world: str) -> None:
    before = [(item.uri, item.etag) for item in storage.list_objects(world)]
    write_world(config(world))
    assert [(item.uri, item.etag) for item in storage.list_objects(world)] == before


def test_an_interrupted_run_is_completed_to_the_same_bytes(world: str) -> None:
    whole = contents(world)
    for name in (CAPTIONS, "000003.mp4", "000003.png", "000007.mp4", "000007.png"):
        storage.delete(storage.join(world, name))
    write_world(config(world))
    assert contents(world) == whole


def test_another_world_is_not_mixed_into_a_full_folder(world: str) -> None:
    with pytest.raises(ConfigError, match="another config"):
        write_world(config(world, seed=1))


def test_the_same_world_lands_in_a_bucket(world: str, s3: str) -> None:
    output = storage.join(s3, "world")
    write_world(config(output))
    there = contents(output)
    assert {name for name in there if name != "config.json"} == {n for n in contents(world) if n != "config.json"}
    assert all(there[name] == data for name, data in contents(world).items() if name != "config.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"frames": {4: 1}}, "4 frames"),
        ({"sizes": {"8x8": 1}}, "8x8"),
        ({"counts": {9: 1}}, "9"),
        ({"num_clips": 0}, "num_clips"),
    ],
)
def test_wrong_values_are_named_before_anything_is_written(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, ValueError), match=named):
        config(str(tmp_path / "out"), **change)


def test_the_command_exits_2_on_wrong_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["world", "--set", f"output={tmp_path}/out", 'sizes={"8x8"=1}'])
    with pytest.raises(SystemExit) as exit_:
        run("world", WorldConfig, write_world)
    assert exit_.value.code == 2
    assert "8x8" in capsys.readouterr().err
