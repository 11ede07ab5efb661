"""`make bench`: one list of all benchmarks, each of which says what it tells and how it is called."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import benchmarks, listing, main

ROOT = Path(__file__).parents[2]


def test_every_benchmark_is_listed_with_what_it_takes() -> None:
    assert {"plan", "gpu", "scaling.sizes", "curation_cost.limit", "edits.cost"} <= benchmarks().keys()
    for name, text in benchmarks().items():
        assert text, name
        assert f"\n\n{name}: " in listing()


def test_one_is_run_with_its_arguments_and_another_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "benchmarks", "plan", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "--clips" in done.stdout) == (0, True), done.stderr
    with pytest.raises(SystemExit, match="NAME=nothing: no such benchmark; there are against_data_juicer, "):
        main(["nothing"])
