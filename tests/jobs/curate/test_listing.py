"""A caption is bound to its file and no other; a key changes when its own object or words do, and only then."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.curate.listing import Plan, bind, parts
from jobs.curate.rows import Source
from jobs.curate.words import beside
from jobs.curate.words.tables import read_tables
from sora_core.errors import ConfigError
from sora_core.storage import ObjectInfo, list_objects

SETTINGS: dict[str, Any] = {"fps": 8}


def put(folder: Path, files: Mapping[str, str | bytes]) -> list[ObjectInfo]:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return list(list_objects(str(folder)))


def plan_of(objects: list[ObjectInfo]) -> Plan:
    return bind(objects, *read_tables(objects), SETTINGS, "filters")


def words(source: Source) -> str | None:
    return beside.read_sidecars(source.caption_uris).text or source.caption


def test_each_file_has_its_own_words(tmp_path: Path) -> None:
    table = "file,caption,licence\n" + "".join(f"clip-{i}.mp4,caption {i},CC0\n" for i in (3, 1, 0, 2))
    plan = plan_of(put(tmp_path, {f"clip-{i}.mp4": "x" * i for i in range(4)} | {"captions.csv": table}))
    assert {Path(source.uri).stem: source.caption for source in plan.sources} == {
        f"clip-{i}": f"caption {i}" for i in range(4)
    }


def test_a_sidecar_goes_before_a_table_and_the_full_name_before_the_stem(tmp_path: Path) -> None:
    files = {
        "a.mp4": "1", "a.mp4.txt": "the mp4", "a.txt": "shared stem", "a.webm": "22",
        "b.mp4": "333", "b.json": '{"caption": "from json", "license": "MIT"}',
        "c.mp4": "4444", "captions.csv": "file,caption\na.mp4,table\nc.mp4,table c\n",
    }  # fmt: skip
    plan = plan_of(put(tmp_path, files))
    assert {Path(source.uri).name: words(source) for source in plan.sources} == {
        "a.mp4": "the mp4",
        "a.webm": "shared stem",
        "b.mp4": "from json",
        "c.mp4": "table c",
    }
    reasons = {Path(row.source.uri).name: row.reason for row in plan.others}
    assert reasons == dict.fromkeys(("a.mp4.txt", "a.txt", "b.json", "captions.csv"), "sidecar")


def test_a_table_speaks_of_its_own_folder(tmp_path: Path) -> None:
    """Two folders with a file of the same name don't mix."""
    files = {f"{folder}/clip.mp4": folder for folder in ("one", "three")}
    files |= {f"{folder}/captions.csv": f"file,caption\nclip.mp4,{folder}\n" for folder in ("one", "three")}
    plan = plan_of(put(tmp_path, files))
    assert {Path(source.uri).parent.name: source.caption for source in plan.sources} == {"one": "one", "three": "three"}


def test_every_object_is_in_the_plan_once(tmp_path: Path) -> None:
    objects = put(tmp_path, {"a.mp4": "1", "notes.md": "2", "b": "33", "x.txt": "not of any file", "manifest.csv": "z"})
    plan = plan_of(objects)
    assert set(plan.keys) == {item.uri for item in objects}
    assert len(plan.keys) == len(plan.sources) + len(plan.others)
    assert {Path(row.source.uri).name: row.reason for row in plan.others} == {
        "notes.md": "not_media",
        "x.txt": "not_media",
        "manifest.csv": "not_media",
    }


def test_a_key_depends_on_its_own_object_words_and_settings_alone() -> None:
    def item(name: str, etag: str) -> ObjectInfo:
        return ObjectInfo(f"s3://b/{name}", etag, 5, 0.0)

    table = {"s3://b/a.mp4": beside.Caption("a", None), "s3://b/b.mp4": beside.Caption("b", None)}

    def keys(a_etag: str = "1", b_text: str = "b", settings: dict[str, Any] = SETTINGS) -> dict[str, str]:
        changed = table | {"s3://b/b.mp4": beside.Caption(b_text, None)}
        return bind([item("a.mp4", a_etag), item("b.mp4", "2")], changed, set(), settings, "filters").keys

    before = keys()
    assert keys() == before
    changed = {name: {uri for uri in before if other[uri] != before[uri]} for name, other in {
        "object": keys(a_etag="9"), "words": keys(b_text="other"), "settings": keys(settings={"fps": 9}),
    }.items()}  # fmt: skip
    assert changed == {"object": {"s3://b/a.mp4"}, "words": {"s3://b/b.mp4"}, "settings": set(before)}


def test_equal_objects_in_a_bucket_are_done_once_with_the_words_of_either() -> None:
    objects = [ObjectInfo(f"s3://b/{name}.mp4", "same", 5, 0.0) for name in "abc"]
    plan = bind(objects, {"s3://b/b.mp4": beside.Caption("words", None)}, set(), SETTINGS, "filters")
    assert [(source.uri, source.caption) for source in plan.sources] == [("s3://b/b.mp4", "words")]
    assert [row.reason for row in plan.others] == ["duplicate_object"] * 2


def test_parts_hold_every_source_once_within_their_bounds() -> None:
    sources = [
        Source(f"s3://b/{i:03}", str(i), size, str(i), str(i)) for i, size in enumerate([5, 50, 200, 1, 1, 1, 1, 1, 99])
    ]
    cut = list(parts(sources, max_sources=3, max_bytes=100))
    assert [source for part in cut for source in part] == sources
    assert all(len(part) <= 3 and (len(part) == 1 or sum(s.size for s in part) <= 100) for part in cut)


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes("file,caption\na.mp4,caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"captions\.csv"):
        read_tables(list_objects(str(tmp_path)))
