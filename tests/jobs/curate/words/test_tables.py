"""No caption is lost, and none slips to another file or time, however people write their tables."""

import io
import json
import logging
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.curate.config import CurateConfig
from jobs.curate.rows import Clip, Examined, Scores, Source, Words
from jobs.curate.stages.examine import bind_caption
from jobs.curate.verdicts import judged
from jobs.curate.words.beside import Caption
from jobs.curate.words.tables import read_tables
from sora_core.errors import ConfigError
from sora_core.storage import ObjectInfo
from tests.jobs.curate.test_listing import plan_of, put


def read(folder: Path, table: str, *files: str, name: str = "captions.csv") -> dict[str, Caption]:
    """What a table among these files says of each that it speaks of, by name."""
    captions, _ = read_tables(put(folder, dict.fromkeys(files, "x") | {name: table}))
    return {Path(uri).name: caption for uri, caption in captions.items()}


def test_rows_with_times_are_words_of_spans(tmp_path: Path) -> None:
    table = "file,start,end,caption\na.mp4,0:10,0:00:20.5,a dog barks\na.mp4,0,10,a cat sleeps\na.mp4,,,pets\n"
    [said] = read(tmp_path, table, "a.mp4").values()
    assert said.spans == (Words(0, 10, "a cat sleeps"), Words(10, 20.5, "a dog barks"))
    assert said.text == "pets"


def clip(start_s: float, end_s: float) -> Clip:
    return Clip(f"{start_s}", start_s, end_s, 8.0, 17, 16, 16, 16, 16, 0, 0, "described", "", Scores(), "kept", None)


def test_a_clip_has_the_words_of_its_time(config: CurateConfig) -> None:
    said = (Words(0, 10, "a cat"), Words(10, 12, "a dog"), Words(12, 14, "a bird"), Words(30, 60, "the sea"))
    source = Source("u", "e", 1, "k", "m", said=said, captioner="table")
    clips = [clip(0, 4), clip(8, 14), clip(16, 20), clip(58, 66), clip(5, 5)]
    config = config.model_copy(update={"captioner": "describer"})
    row = judged(Examined(source, "video", "kept", None, clips), config)
    assert [(made.caption, made.captioner) for made in row.clips] == [
        ("a cat", "table"), ("a dog a bird", "table"), ("described", "describer"), ("described", "describer"),
        ("a cat", "table"),
    ]  # fmt: skip


def test_words_that_the_gate_refuses_drop_their_clip(config: CurateConfig) -> None:
    """As a prompt the service would refuse them too; an operator may curate without it."""
    said = (Words(0, 10, "a naked woman lies on a bed"), Words(10, 20, "a killer whale leaps out of a fjord"))
    source = Source("u", "e", 1, "k", "m", said=said, captioner="table")
    row = Examined(source, "video", "kept", None, [clip(0, 10), clip(10, 20)])
    reasons = [made.reason for made in judged(row, config).clips]
    assert reasons == ["unsafe_words", None]
    without = judged(row, config.model_copy(update={"gate": False}))
    assert [made.status for made in without.clips] == ["kept", "kept"]


def test_files_are_named_by_whole_uris_in_other_case_or_from_a_folder(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/whole%20uri.mp4"
    table = f'File,Caption\n./sub/A.MP4,one\n"b.mp4",two\n{uri},three\n{tmp_path}/path.mp4,four\n'
    found = read(tmp_path, table, "sub/a.mp4", "B.mp4", "whole uri.mp4", "path.mp4")
    assert {name: caption.text for name, caption in found.items()} == {
        "a.mp4": "one", "B.mp4": "two", "whole uri.mp4": "three", "path.mp4": "four",
    }  # fmt: skip


def test_uris_of_a_bucket_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\ns3://b/deep/a.mp4,one\ns3://other/a.mp4,elsewhere\n")
    monkeypatch.setattr("jobs.curate.words.tables.storage.local_file", lambda _uri: nullcontext(table))
    objects = [ObjectInfo(f"s3://b/{key}", "e", 1, 0.0) for key in ("captions.csv", "deep/a.mp4", "a.mp4")]
    captions, _ = read_tables(objects)
    assert {uri: caption.text for uri, caption in captions.items()} == {"s3://b/deep/a.mp4": "one"}


def test_a_comma_without_quotes_is_part_of_the_last_column(tmp_path: Path) -> None:
    assert read(tmp_path, "file,licence,caption\na.mp4,CC0,a dog, a cat, a bird\n", "a.mp4") == {
        "a.mp4": Caption("a dog, a cat, a bird", "CC0")
    }


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("a.mp4,a dog, running,CC0,,", r"line 2: more values than columns; .*'a dog'"),
        ("a.mp4,one,,,\na.mp4,two,,,", r"line 3: a\.mp4 has 'one' and 'two'"),
        ("a.mp4,one,,5,", "line 2: a start and an end go together"),
        ("a.mp4,one,,5,4", r"it ends \(4\) before it starts \(5\)"),
        ("a.mp4,one,,soon,4", "'soon' is no time"),
        ("gone.mp4,one,,,", r"none of its files is there \(gone\.mp4\)"),
        (",one,,,", "it names no file"),
        ("C.mp4,one,,,", r"C\.mp4 may mean c\.MP4 or c\.mp4"),
        ('a.mp4,"one,,,', "no table in UTF-8"),
    ],
)
def test_what_can_not_be_understood_is_named_with_its_row(rows: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        read(tmp_path, f"file,caption,licence,start,end\n{rows}\n", "a.mp4", "c.mp4", "c.MP4")


ROWS = [
    {"file": "a.mp4", "caption": "a dog barks, twice", "start": 0, "end": 10.5, "licence": "CC0"},
    {"file": "b.mp4", "caption": "two\nlines", "start": None, "end": None, "licence": None},
]


def as_parquet(rows: list[dict[str, object]]) -> bytes:
    pq.write_table(pa.Table.from_pylist([row | {"tags": ["x"]} for row in rows]), made := io.BytesIO())
    return made.getvalue()


def as_json_lines(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(["", *(json.dumps(row | {"tags": ["x"]}) for row in rows), ""]).encode()


@pytest.mark.parametrize(("name", "write"), [("captions.parquet", as_parquet), ("manifest.jsonl", as_json_lines)])
def test_parquet_and_json_lines_say_the_same(name: str, write: Any, tmp_path: Path) -> None:
    objects = put(tmp_path, {"a.mp4": "x", "b.mp4": "x", name: write(ROWS)})
    captions, used = read_tables(objects)
    assert {Path(uri).name: caption for uri, caption in captions.items()} == {
        "a.mp4": Caption(None, "CC0", (Words(0, 10.5, "a dog barks, twice"),)),
        "b.mp4": Caption("two lines", None),
    }
    assert [Path(uri).name for uri in used] == [name]


@pytest.mark.parametrize(
    ("name", "table", "match"),
    [
        ("captions.jsonl", b'{"file": "a.mp4", "caption": "one"}\n{"file": "a', "line 2: no JSON"),
        ("captions.jsonl", b'["a.mp4", "one"]\n', "line 1: no object of file and caption, but list"),
        ("captions.jsonl", b'{"file": "a.mp4", "caption": ["one", "two"]}', "line 1: caption is no text, but list"),
        ("captions.parquet", b"PAR1 and then something else", "no table in UTF-8"),
    ],
)
def test_damage_in_them_is_named_too(name: str, table: bytes, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        read_tables(put(tmp_path, {"a.mp4": "x", name: table}))


@pytest.mark.parametrize("name", ["captions.csv", "captions.parquet", "captions.jsonl"])
def test_a_table_of_much_else_takes_no_memory(name: str, tmp_path: Path) -> None:
    """Twenty thousand rows of two megabytes, of which one speaks of a file that is there."""
    rows: list[dict[str, object]] = [
        {"file": f"{n}.mp4", "caption": "a dog barks at the sea " * 5} for n in range(20_000)
    ]
    as_csv = "\n".join(["file,caption", *(f"{row['file']},{row['caption']}" for row in rows)]).encode()
    table = {".csv": as_csv, ".parquet": as_parquet(rows), ".jsonl": as_json_lines(rows)}[Path(name).suffix]
    objects = put(tmp_path, {"7.mp4": "x", name: table})
    tracemalloc.start()
    captions, _ = read_tables(objects)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(captions) == 1
    assert peak < 12e6 if name.endswith("parquet") else peak < 5e5


def test_many_such_rows_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^9 rows of captions .*; and 4 more"):
        read(tmp_path, "file,caption,start,end\n" + "a.mp4,one,5,\n" * 9, "a.mp4")


def test_some_files_that_are_not_there_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, "file,caption\na.mp4,one\nb.mp4,two\n", "a.mp4").keys() == {"a.mp4"}
    assert "1 files aren't there (b.mp4" in caplog.text


def test_metadata_in_json_leaves_the_text_beside_it_its_say(tmp_path: Path, config: CurateConfig) -> None:
    files = {
        "a.mp4": "1", "a.json": '{"width": 64, "licence": "MIT"}', "a.txt": "a dog",
        "b.mp4": "22", "b.mp4.json": '{"caption": "from json"}', "b.txt": "from text",
        "captions.csv": "file,start,end,caption\na.mp4,0,9,of a span\nc.mp4,0,9,of a span\n", "c.mp4": "333",
    }  # fmt: skip
    plan = plan_of(put(tmp_path, files))
    bound = {Path(source.uri).name: bind_caption(source, config) for source in plan.sources}
    assert {name: (source.caption, source.licence) for name, source in bound.items()} == {
        "a.mp4": ("a dog", "MIT"), "b.mp4": ("from json", None), "c.mp4": (None, None),
    }  # fmt: skip
    assert [len(bound[name].said) for name in ("a.mp4", "c.mp4")] == [0, 1], "sidecars go before tables"
    assert {Path(row.source.uri).name for row in plan.others} == files.keys() - bound.keys()


def test_the_same_words_keep_a_key_and_others_change_it(tmp_path: Path) -> None:
    put(tmp_path, {"a.mp4": "x"})

    def key(times: str) -> str:
        [source] = plan_of(put(tmp_path, {"captions.csv": f"file,start,end,caption\na.mp4,{times},one\n"})).sources
        return source.key

    assert key("0,5") == key("0:00,0:05") != key("0,6")
