"""The ledger conserves rows: whatever is interrupted, removed or changed, what it names is there, once."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.curate.books import account, ledger, removal, resume
from jobs.curate.books.lease import held
from jobs.curate.books.parts import read_parts
from jobs.curate.books.resume import Standing
from jobs.curate.books.stored import store
from jobs.curate.rows import Clip, Examined, Scores, Source
from sora_core import shards, storage
from sora_core.errors import ConfigError, SoraError
from sora_core.shapes import PixelShape
from sora_core.shards import Provenance, Row

MADE = Provenance(64, 64, 1, 0, "vae", "float32", "text", "table", "filters", 1)


def clip(name: str, status: str = "kept", reason: str | None = None) -> Clip:
    scores = Scores(luma=3.0)
    sides = (9, 64, 64, 64, 64, 0, 0)
    words = ("long", "short")
    return Clip(name, 0.0, 1.0, 8.0, *sides, *words, scores, status, reason, "words", "table", b"webp")  # type: ignore[arg-type]


def source(name: str) -> Source:
    return Source(f"s3://b/{name}.mp4", "etag", 5, f"key-{name}", f"examine-{name}")


def examined(name: str, *clips: Clip) -> Examined:
    return Examined(source(name), "video", "kept", None, list(clips))


def latents(clip_id: str) -> Row:
    value = np.full((16, 3, 2, 2), len(clip_id), np.float16)
    text = np.ones((2, 4), np.float16)
    uri = f"s3://b/{clip_id.split('-')[0]}.mp4"
    return Row(
        clip_id, uri, "etag", 0.0, 1.0, 8.0, PixelShape(9, 16, 16), "train", "words", None, MADE, value, value, text
    )


def commit(output: str, *rows: Examined) -> None:
    """A part as `jobs.curate.books.commit` writes it, with latents of a known value."""
    kept = [latents(item.clip_id) for row in rows for item in row.clips if item.status == "kept"]
    name = ledger.part_name(row.source.key for row in rows)
    written = [store(kept, output, next(ledger.shard_paths(name)), time.monotonic())] if kept else []
    ledger.write_part(rows, written, output)


def stand(output: str, wanted: Mapping[str, str], **options: bool) -> Standing:
    return resume.stand(read_parts(output), wanted, resume.stored_names(output), **options)


def tidy(output: str, wanted: list[str], **options: bool) -> Standing:
    """A run over the sources of these keys that finds this standing and has nothing else to do."""
    standing = stand(output, {f"s3://b/{key.split('-')[1]}.mp4": key for key in wanted}, **options)
    resume.settle(standing, output)
    with held(output) as lease:
        live = [part for part in read_parts(output) if part.name not in standing.stale]
        removal.sweep(output, standing.stale, live, 0, lease)
    return standing


def clips_stored(output: str) -> Counter[str]:
    """Clip ids of all latents that lie in the output, whoever names them."""
    return Counter(
        row.clip_id for part in read_parts(output) for shard in part.shards for row in shards.read_rows(output, shard)
    )


A = examined("a", clip("a-0"), clip("a-1", "dropped", "too_dark"))
B = examined("b", clip("b-0"))
C = Examined(source("c"), None, "failed", "empty_file")


def test_what_is_wanted_and_done_stays_as_it_is(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B, C)
    before = {item.uri: item.etag for item in storage.list_objects(output)}
    assert tidy(output, ["key-a", "key-b", "key-c", "key-new"]).done == {"key-a", "key-b", "key-c"}
    assert {item.uri: item.etag for item in storage.list_objects(output)} == before


def test_a_stale_source_goes_and_its_neighbours_stay(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B, C)
    assert tidy(output, ["key-a", "key-c", "other-b"]).done == {"key-a", "key-c"}
    assert clips_stored(output) == Counter(["a-0"])
    uris = ledger.read_rows(output, ["uri"]).column("uri").to_pylist()
    assert Counter(uris) == {"s3://b/a.mp4": 3, "s3://b/c.mp4": 1}


def test_an_interruption_while_tidying_repeats_nothing(tmp_path: Path) -> None:
    """Killed after the new part was written and before the old was removed: both are there."""
    output = str(tmp_path)
    commit(output, A, B)
    commit(output, A)
    assert tidy(output, ["key-a"], prune=True).done == {"key-a"}
    assert clips_stored(output) == Counter(["a-0"])


def test_two_runs_at_once_leave_each_source_once(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B)
    commit(output, B, C)
    assert tidy(output, ["key-a", "key-b", "key-c"]).done == {"key-a", "key-b", "key-c"}
    assert clips_stored(output) == Counter(["a-0", "b-0"])


def test_latents_without_a_ledger_are_removed(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A)
    shards.write_shard([latents("b-0")], output, next(ledger.shard_paths("part-interrupted")))
    tidy(output, ["key-a", "key-b"])
    [part] = read_parts(output)
    assert {Path(uri).name for uri in ledger.files(output, "latents")} == part.shard_names


def test_a_failure_of_the_moment_is_tried_again_and_a_lasting_one_is_not(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, Examined(source("x"), None, "failed", "object_missing"), C)
    assert tidy(output, ["key-x", "key-c"]).done == {"key-c"}


def test_a_sum_that_does_not_add_up_is_an_error(tmp_path: Path) -> None:
    output = str(tmp_path)
    wanted = [A.source.uri, B.source.uri, C.source.uri]

    def prove() -> account.Account:
        return account.prove(read_parts(output), wanted, resume.stored_names(output))

    commit(output, A, B)
    with pytest.raises(SoraError, match="1 objects are missing"):
        prove()
    commit(output, C)
    books = prove()
    assert books.sources.total() == 3
    assert books.num(books.clips, "kept") + books.num(books.clips, "dropped") == books.clips.total() == 3
    commit(output, replace(C, source=replace(C.source, key="again")))
    with pytest.raises(SoraError, match="several rows"):
        prove()


def test_a_source_is_kept_for_one_clip_and_else_shares_its_clips_reason() -> None:
    dark, short, cut = clip("1", "dropped", "too_dark"), clip("2", "dropped", "too_short"), clip("3", "failed", "cut")
    assert ledger.source_verdict(examined("a", dark, clip("4"))) == ("kept", None)
    assert ledger.source_verdict(examined("a", dark, short, dark)) == ("dropped", "too_dark")
    assert ledger.source_verdict(examined("a", cut, dark)) == ("dropped", "too_dark")
    assert ledger.source_verdict(examined("a", cut)) == ("failed", "cut")
    assert ledger.source_verdict(examined("a")) == ("dropped", "no_clips")


def test_what_was_measured_is_recalled_as_it_was(tmp_path: Path) -> None:
    commit(str(tmp_path), A, C)
    found = ledger.recall(ledger.part_name(["key-a", "key-c"]), str(tmp_path))
    assert found == {A.source.uri: A, C.source.uri: C}
    assert ledger.recall("part-gone", str(tmp_path)) == {}


def test_a_stale_part_still_says_what_was_measured(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B, Examined(source("x"), None, "failed", "internal_error"))
    standing = stand(output, {"s3://b/a.mp4": "other-a", "s3://b/b.mp4": "key-b", "s3://b/x.mp4": "key-x"})
    assert standing.done == {"key-b"}
    assert standing.measured.keys() == {"examine-a", "examine-b"}
    assert clips_stored(output) == Counter(["a-0", "b-0"]), "looking changes nothing"
    tidy(output, ["other-a", "key-b", "key-x"])
    assert clips_stored(output) == Counter(["b-0"])


def test_what_the_source_does_not_hold_any_more_stays_until_it_is_pruned(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B)
    commit(output, C)
    before = {item.uri: item.etag for item in storage.list_objects(output)}
    standing = tidy(output, ["key-c"])
    assert standing.others == {"s3://b/a.mp4", "s3://b/b.mp4"}
    assert {item.uri: item.etag for item in storage.list_objects(output)} == before
    assert tidy(output, ["key-b", "key-c"], prune=True).others == set()
    assert clips_stored(output) == Counter(["b-0"])


def test_an_object_that_nobody_wants_and_two_parts_hold_stays_once_as_it_was_last(tmp_path: Path) -> None:
    """Its source was replaced, the run ended before the old row went, and the next is over other footage."""
    output = str(tmp_path)
    commit(output, A)
    path = Path(ledger.part_uri(output, ledger.part_name(["key-a"])))
    os.utime(path, (1, 1))
    commit(output, replace(A, source=replace(A.source, key="key-a2"), clips=[clip("a-9")]))
    tidy(output, [])
    assert clips_stored(output) == Counter(["a-9"])


def test_lost_latents_of_what_can_not_be_made_again_are_named(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, A, B)
    [file] = ledger.files(output, "latents")
    Path(file).unlink()
    with pytest.raises(ConfigError, match=r"1 of its objects aren't under the source.*prune=true"):
        tidy(output, ["key-a"])
    assert tidy(output, ["key-a", "key-b"]).done == set(), "both are done again"
