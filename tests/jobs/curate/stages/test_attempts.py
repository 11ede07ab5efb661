"""What kills its actor again and again becomes a row, and its neighbours are done."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.curate.books import ledger
from jobs.curate.config import CurateConfig
from jobs.curate.listing import make_plan
from jobs.curate.rows import examined_from_table, part_to_item, short_hash
from jobs.curate.stages.actors import EncodeStage, ExamineStage
from sora_core import storage
from tests.jobs.curate.conftest import Nobody, Tally
from tests.jobs.curate.stripes import write_footage

ROOT = Path(__file__).parents[4]
# An actor that works off one part, and dies of one of its sources, as when the kernel needs its memory.
ACTOR = """
import os, sys
from jobs.curate.stages.attempts import Attempts
output, *sources = sys.argv[1:]
attempts = Attempts(output, "encode")

def work(source):
    if source == "culprit":
        os.kill(os.getpid(), 9)
    return source + ": done"

with attempts.begun(*sources) as is_suspect:
    for source in sources:
        if is_suspect:
            with attempts.begun("alone", source) as is_to_blame:
                print(source + ": blamed" if is_to_blame else work(source))
        else:
            print(work(source))
"""


def actor(output: Path, *sources: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", ACTOR.replace("import os, sys", f"import os, sys; sys.path[:0] = {sys.path!r}"),
         str(output), *sources],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.split("\n")[:-1]


def test_a_part_that_kills_its_actor_twice_is_taken_apart_and_its_culprit_is_named(tmp_path: Path) -> None:
    codes: Counter[int] = Counter()
    for _ in range(8):
        code, said = actor(tmp_path, "first", "culprit", "last")
        codes[code] += 1
        if code == 0:
            break
    assert said == ["first: done", "culprit: blamed", "last: done"]
    assert codes == {-9: 4, 0: 1}, "twice together, twice alone"
    assert list(tmp_path.rglob("encode-*")) == [], "no mark is left"


@pytest.fixture
def footage(config: CurateConfig) -> None:
    Path(config.source).mkdir()
    write_footage(Path(config.source))


def begin_in_vain(output: str, stage: str, *what: str) -> None:
    """Two marks as two dead actors leave them."""
    for number in range(2):
        storage.write_bytes(storage.join(output, "attempts", f"{stage}-{short_hash(*what)}-{number}"), b"")


def test_the_stages_blame_an_object_and_do_the_others(config: CurateConfig, footage: None, tally: Tally) -> None:
    sources = [source for source in make_plan(config, {}).sources if "-64" in source.uri]
    [red] = [source for source in sources if "red" in source.uri]
    [blue] = [source for source in sources if "blue" in source.uri]
    for stage, culprit in (("examine", red), ("encode", blue)):
        begin_in_vain(config.output, stage, *(source.key for source in sources))
        begin_in_vain(config.output, stage, "alone", culprit.key)
    table = ExamineStage(config, Nobody())(pa.Table.from_pylist([part_to_item(sources)]))
    reasons = {row.source.uri: row.reason for row in examined_from_table(table)}
    assert {uri for uri, reason in reasons.items() if reason} == {red.uri}
    EncodeStage(config, Nobody())(table)
    rows = ledger.read_rows(config.output, ["uri", "clip_id", "status", "reason"]).to_pylist()
    found = {row["uri"]: (row["status"], row["reason"]) for row in rows if row["clip_id"] is None}
    blamed = ("failed", "killed_its_actor")
    assert found == {source.uri: ("kept", None) for source in sources} | {red.uri: blamed, blue.uri: blamed}
    assert tally.counts["encode"] == len(sources) - 2
    assert list(Path(config.output).glob("attempts/*")) == []
