"""The ledger conserves rows: whatever is interrupted, removed or changed, what it names is there, once."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.curate.books import account, ledger, resume
from jobs.curate.books.resume import Standing
from jobs.curate.books.stored import store
from jobs.curate.listing import Plan
from jobs.curate.rows import Clip, Examined, Scores, Source
from sora_core import shards, storage
from sora_core.errors import SoraError
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
    written = [store(kept, output, ledger.shard_path(name, 0), time.monotonic())] if kept else []
    ledger.write_part(rows, written, output)


def tidy(output: str, wanted: list[str]) -> Standing:
    """A run that finds this standing and has nothing else to do."""
    standing = resume.stand(output, wanted)
    resume.retire(output, standing, set())
    return standing


def clips_stored(output: str) -> Counter[str]:
    """Clip ids of all latents that lie in the output, whoever names them."""
    return Counter(
        row.clip_id
        for part in ledger.read_parts(output)
        for shard in part.shards
        for row in shards.read_rows(output, shard)
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
    assert tidy(output, ["key-a", "key-c", "key-b-replaced"]).done == {"key-a", "key-c"}
    assert clips_stored(output) == Counter(["a-0"])
    uris = ledger.read_rows(output, ["uri"]).column("uri").to_pylist()
    assert Counter(uris) == {"s3://b/a.mp4": 3, "s3://b/c.mp4": 1}


def test_an_interruption_while_tidying_repeats_nothing(tmp_path: Path) -> None:
    """Killed after the new part was written and before the old was removed: both are there."""
    output = str(tmp_path)
    commit(output, A, B)
    commit(output, A)
    assert tidy(output, ["key-a"]).done == {"key-a"}
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
    shards.write_shard([latents("b-0")], output, ledger.shard_path("part-interrupted", 0))
    tidy(output, ["key-a", "key-b"])
    assert [Path(uri).name for uri in ledger.files(output, "latents")] == [
        Path(ledger.shard_path(ledger.part_name(["key-a"]), 0)).name
    ]


def test_a_failure_of_the_moment_is_tried_again_and_a_lasting_one_is_not(tmp_path: Path) -> None:
    output = str(tmp_path)
    commit(output, Examined(source("x"), None, "failed", "object_missing"), C)
    assert tidy(output, ["key-x", "key-c"]).done == {"key-c"}


def test_a_sum_that_does_not_add_up_is_an_error(tmp_path: Path) -> None:
    output = str(tmp_path)
    plan = Plan([A.source, B.source, C.source], [])
    commit(output, A, B)
    with pytest.raises(SoraError, match="1 objects are missing"):
        account.prove(plan, output)
    commit(output, C)
    books = account.prove(plan, output)
    assert books.sources.total() == 3
    assert books.num(books.clips, "kept") + books.num(books.clips, "dropped") == books.clips.total() == 3
    commit(output, replace(C, source=replace(C.source, key="again")))
    with pytest.raises(SoraError, match="several rows"):
        account.prove(plan, output)


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
    standing = resume.stand(output, ["other-a", "key-b", "key-x"])
    assert standing.done == {"key-b"}
    assert standing.measured.keys() == {"examine-a", "examine-b"}
    assert clips_stored(output) == Counter(["a-0", "b-0", "b-0"]), "nothing goes before the run has ended"
    resume.retire(output, standing, set())
    assert clips_stored(output) == Counter(["b-0"])
