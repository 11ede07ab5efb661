"""What a device computes fast decides `auto`; on cores whose 16-bit units are masked that is measured."""

import ast
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sora_core import precision

ROOT = Path(__file__).parents[2]
MASK = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}
REDUCED = re.compile(r"bfloat16|bf16|\bBF16\b")


def spoken(path: Path) -> list[str]:
    """The lines of a file that name the reduced precision, docstrings and comments aside."""
    if path.suffix != ".py":
        return [line for line in path.read_text().splitlines() if REDUCED.search(line.partition("#")[0])]
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"{path}:{node.lineno}"
        for node in ast.walk(tree)
        for name in (
            getattr(node, "attr", ""),
            getattr(node, "id", ""),
            getattr(node, "arg", ""),
            getattr(node, "value", ""),
        )
        if id(node) not in prose and isinstance(name, str) and REDUCED.search(name)
    ]


def test_only_one_file_names_the_reduced_precision() -> None:
    files = [
        path
        for room in ("sora_core", "jobs", "services", "benchmarks")
        for kind in ("py", "toml", "yaml")
        for path in (ROOT / room).rglob(f"*.{kind}")
    ]
    assert len(files) > 200
    found = {path for path in files if spoken(path)}
    assert found == {ROOT / "sora_core" / "precision.py"}


def test_auto_is_what_all_compute_fast_and_a_choice_is_kept() -> None:
    exact, reduced = precision.EXACT, precision.REDUCED
    assert precision.settle("auto", [reduced, reduced]) == reduced
    assert precision.settle("auto", [reduced, exact]) == exact
    assert precision.settle("auto", []) == exact
    assert precision.settle(reduced, [exact, exact]) == reduced
    assert precision.settle(exact, [reduced]) == exact


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_a_gpu_is_known_by_its_compute_capability(
    capability: tuple[int, int], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    precision.fast.cache_clear()
    assert precision.fast("cuda") == wanted
    precision.fast.cache_clear()


def test_other_devices_compute_in_float32() -> None:
    assert precision.fast("mps") == precision.EXACT


def test_cores_whose_torch_claims_units_but_multiplies_slowly_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with AVX-512 alone: torch says yes, and products take 4.5 times as long."""
    monkeypatch.setattr(precision, "_cpu_claims_units", lambda: True)
    for factor, wanted in ((4.5, precision.EXACT), (0.3, precision.REDUCED)):
        monkeypatch.setattr(precision, "slowdown", lambda *_, factor=factor: factor)
        precision.fast.cache_clear()
        assert precision.fast("cpu") == wanted
    precision.fast.cache_clear()


def test_a_slow_choice_runs_and_names_its_factor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "fast", lambda _device: precision.EXACT)
    monkeypatch.setattr(precision, "slowdown", lambda *_: 59.04)
    with caplog.at_level(logging.INFO):
        assert precision.settle_here(precision.REDUCED, "cpu", "training in") == precision.REDUCED
        assert precision.settle_here("auto", "cpu", "training in") == precision.EXACT
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "59 times" in warning
    assert caplog.messages[-1] == "training in: float32 (auto)"


@pytest.mark.slow
def test_on_plain_cores_auto_costs_what_float32_costs() -> None:
    """A training step, an encode and the shot network in a process whose units are masked."""
    script = Path(__file__).parent / "plain_cores.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        | MASK
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["fast"] == "float32"
    assert told["slowdown"] > 3, "the mask takes the units away"
    assert told["settled"] == {"train": "float32", "encode": "float32", "shots": "float32"}
    for what, (auto, exact) in told["cpu_s"].items():
        assert auto <= 1.2 * exact, (what, auto, exact)
