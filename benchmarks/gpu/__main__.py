"""Proves and measures a GPU: correct, fast, and what it makes of the small model, in one command with a time limit.

``python -m benchmarks.gpu --minutes 8 --out DIR`` runs the stages in their order, each within its own limit, and keeps
``DIR/result.json`` and ``DIR/table.md`` true as it goes, so that a run that is cut still tells. ``--device cpu --tiny``
is all of it without a GPU. ``--inputs FILE`` is what ``python -m benchmarks.gpu.inputs`` made.

It needs torch, numpy, einops, jaxtyping and safetensors, and diffusers for the peer: no Ray, no network (docs/GPU.md).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAGES: Mapping[str, float] = {
    "tests": 60.0, "numbers": 30.0, "denoise": 75.0, "training": 90.0, "packing": 25.0, "launches": 20.0,
    "weights": 30.0, "learn": 1e9,
}  # fmt: skip
"""Seconds that each may take of a GPU, of the time that is left; a CPU has `_CPU_TIMES` as many."""

_CPU_TIMES = 4

_WORKER = "import sys; from benchmarks.gpu.worker import main; main(*sys.argv[1:])"

_END_S = 5.0
"""What is kept for the end of the last stage: writing its weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--inputs", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    run(asked.out, asked.minutes * 60, asked.device, asked.inputs, tiny=asked.tiny)


def run(out: Path, whole_s: float, device: str, inputs: Path | None, *, tiny: bool) -> dict[str, Any]:
    """All stages in one worker; where one overruns or dies, another worker goes on with the next."""
    began, waiting = time.monotonic(), list(STAGES)
    result: dict[str, Any] = {"device": device, "tiny": tiny, "limit_s": whole_s, "stages": {}}
    while waiting and (left := whole_s - (time.monotonic() - began)) > _END_S:
        asked = [str(out), device, str(int(tiny)), str(inputs or ""), str(time.time() + left - _END_S), *waiting]
        command = [sys.executable, "-c", _WORKER, *asked]
        with (out / "worker.log").open("ab") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log)
            waiting = _watch(worker, out, result, waiting, time.monotonic() + left)
    for name in waiting:
        result["stages"][name] = {"state": "left out", "why": "no time was left"}
    result["seconds"] = round(time.monotonic() - began, 1)
    _write(out, result)
    return result


def _watch(
    worker: "subprocess.Popen[bytes]", out: Path, result: dict[str, Any], waiting: list[str], end: float
) -> list[str]:
    """What is still to do when the worker has ended, or was ended: the stage that it was at is not tried again."""
    waiting, current_end = list(waiting), end
    seen = ""
    while waiting:
        ended = worker.poll() is not None
        name, found = waiting[0], _read(out / f"{waiting[0]}.json")
        if name != seen and found is not None:
            seen = name
            times = _CPU_TIMES if result.get("device") == "cpu" else 1
            current_end = min(end, time.monotonic() + times * STAGES[name] + _END_S)
        late = time.monotonic() > (current_end if name == seen else end)
        if found is not None and found["state"] not in ("running",):
            result["stages"][name] = found
            waiting.pop(0)
        elif ended or late:
            worker.kill()
            worker.wait()
            said = {"state": "cut" if late else "died", "why": f"see {out / 'worker.log'}"}
            result["stages"][name] = (found or {}) | said
            return waiting[1:]
        else:
            if found is not None:
                result["stages"][name] = found
            time.sleep(0.2)
            continue
        _write(out, result)
    worker.wait()
    return []


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _write(out: Path, result: dict[str, Any]) -> None:
    temporary = out / "result.json.part"
    temporary.write_text(json.dumps(result, indent=1))
    temporary.replace(out / "result.json")
    (out / "table.md").write_text(table(result))


def table(result: Mapping[str, Any]) -> str:
    """A row a number, by stage."""
    lines = ["| stage | state | s | what | value |", "|---|---|---|---|---|"]
    for name, stage in result["stages"].items():
        rows = list(_flat(stage.get("found", {}))) or [(stage.get("why", ""), "")]
        for what, value in rows:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"| {name} | {stage['state']} | {stage.get('seconds', '')} | {what} | {shown} |")
    return "\n".join(lines) + "\n"


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in found.items():
        rows += _flat(value, f"{before}{name}: ") if isinstance(value, dict) else [(f"{before}{name}", value)]
    return rows


if __name__ == "__main__":
    main()
