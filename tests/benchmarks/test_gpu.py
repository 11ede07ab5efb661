"""The command for the day a GPU is there runs here, whole and in small, and a cut run still tells."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from benchmarks.gpu.__main__ import STAGES, _watch, table

BARRED = """
import sys
from importlib.machinery import PathFinder

LACKS = {"ray", "pydantic", "boto3", "botocore", "pyarrow", "av", "cv2", "fastapi", "sqlalchemy", "peft", "accelerate"}

class Without:
    find_distributions = PathFinder.find_distributions
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in LACKS else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""A start of Python as on the machine with the GPU, which lacks these."""


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu_without_what_the_gpus_machine_lacks(tmp_path: Path) -> None:
    bar = tmp_path / "barred"
    bar.mkdir()
    (bar / "sitecustomize.py").write_text(BARRED)
    out, root = tmp_path / "out", Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.gpu", "--minutes", "4", "--out", str(out), "--device", "cpu", "--tiny"]
    environment = {"PYTHONPATH": f"{bar}:{root}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=280, cwd=root, env=environment)
    result = json.loads((out / "result.json").read_text())
    states = {name: stage["state"] for name, stage in result["stages"].items()}
    assert states == dict.fromkeys(STAGES, "done"), (result["stages"], (out / "worker.log").read_text()[-3000:])
    assert "| denoise | done |" in (out / "table.md").read_text()
    parts = sorted((out / "small").glob("*.safetensors"))
    assert parts
    assert sum(value.numel() for part in parts for value in load_file(part).values()) > 1000
    assert result["stages"]["denoise"]["found"]["tiny, diffusers"]["difference"] < 1e-4


def _watched(tmp_path: Path, script: str, waiting: Sequence[str], end_s: float) -> tuple[list[str], dict[str, Any]]:
    result: dict[str, Any] = {"stages": {}}
    worker = subprocess.Popen([sys.executable, "-S", "-c", WRITE + script, str(tmp_path)])
    return _watch(worker, tmp_path, result, list(waiting), time.monotonic() + end_s), result["stages"]


WRITE = """
import json, pathlib, sys, time
def w(name, state):
    path = pathlib.Path(sys.argv[1]) / f"{name}.json"
    path.with_suffix(".part").write_text(json.dumps({"state": state, "found": {"ms": 1.5}}))
    path.with_suffix(".part").replace(path)
"""


def test_a_stage_at_which_the_worker_dies_is_named_and_the_next_is_still_to_do(tmp_path: Path) -> None:
    script = "w('tests', 'done'); w('numbers', 'running'); sys.exit(1)"
    left, stages = _watched(tmp_path, script, ["tests", "numbers", "denoise"], 60)
    assert left == ["denoise"]
    assert [stages[name]["state"] for name in ("tests", "numbers")] == ["done", "died"]


@pytest.mark.slow
def test_a_stage_that_overruns_is_cut_and_what_it_found_is_kept(tmp_path: Path) -> None:
    left, stages = _watched(tmp_path, "w('tests', 'running'); time.sleep(60)", ["tests", "numbers"], 4)
    assert left == ["numbers"]
    assert "| tests | cut |  | ms | 1.5 |" in table({"stages": stages})
