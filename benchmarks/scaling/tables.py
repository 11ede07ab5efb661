"""``python -m benchmarks.scaling.tables`` prints the tables of docs/SCALING.md from the stored results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.scaling.length import TRUTH, WAYS
from benchmarks.scaling.results import Results
from benchmarks.scaling.shapes import ASKED

SCORES = ("colour", "background", "direction", "whole", "speckle")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sizes(runs: Mapping[str, Any]) -> str:
    """A row for each run: where it ended, and its loss at given numbers of operations."""
    marks = (0.5e12, 1e12, 2e12, 3e12, 6e12, 8e12, 12e12)
    rows = []
    for name, run in runs.items():
        points = run["points"]
        flops = np.log([point["flops"] for point in points])
        losses = [float(np.mean(point["losses"])) for point in points]
        at = [
            f"{np.interp(np.log(mark), flops, losses):.3f}" if flops[0] <= np.log(mark) <= flops[-1] + 0.02 else ""
            for mark in marks
        ]
        rate = points[-1]["flops"] / points[-1]["seconds"] / 1e9
        rows.append([name, f"{run['params'] / 1e6:.2f}", f"{points[-1]['clips']:,}", f"{rate:.0f}", *at])
    head = ["run", "M parameters", "clips seen", "GFLOP/s", *(f"{mark / 1e12:g} TFLOP" for mark in marks)]
    return table(head, rows)


def shapes(runs: Mapping[str, Any]) -> str:
    """Native against crops at every asked shape."""
    who = ("native", "crops", TRUTH)
    rows = []
    for shape in ASKED:
        found = [runs.get(f"{one}: {shape}", {}) for one in who]
        rows.append([shape, *(" / ".join(_number(scores.get(name)) for scores in found) for name in SCORES[:4])])
    scores_table = table(["asked", *SCORES[:4]], rows)
    trained = [runs[f"training, {name}"] for name in who[:2]]
    losses = [[size, *(f"{np.mean(run['losses'][size]):.3f}" for run in trained)] for size in trained[0]["losses"]]
    real, speed = runs["real tokens"], runs["clips a second"]
    fill = [[way, f"{real[way]:.1%}", f"{speed[way]:.0f}"] for way in real]
    return "\n\n".join(
        [
            scores_table,
            table(["validation loss", "native", "crops"], losses),
            table(["", "real tokens", "clips a CPU second"], fill),
        ]
    )


def length(runs: Mapping[str, Any]) -> str:
    """The drift of each way at the last frame and over all frames."""
    kinds = list(runs[TRUTH]["drift"])
    rows = [
        [way, *(f"{runs[way]['drift'][kind][-1]:.3g}" for kind in kinds), _number(runs[way]["read"]["direction"]),
         f"{runs[way]['seconds']:.0f}"]
        for way in (*WAYS, TRUTH)
    ]  # fmt: skip
    return table(["", *kinds, "direction", "CPU s"], rows)


def recipe(runs: Mapping[str, Any]) -> str:
    """Runs with their losses and scores, then samplers, then averages."""
    trained = {name: run for name, run in runs.items() if "losses" in run}
    rows = [
        [name, f"{run['law']:.4f}", *(f"{loss:.3f}" for loss in run["losses"].values()),
         *(_number(run[score]) for score in SCORES), str(round(run["seconds"])) if "seconds" in run else ""]
        for name, run in trained.items()
    ]  # fmt: skip
    sigmas = next(iter(trained.values()))["losses"]
    head = ["run", "law", *(f"sigma {sigma}" for sigma in sigmas), *SCORES, "CPU s"]
    others = [[name, *(_number(run[score]) for score in SCORES)] for name, run in runs.items() if name not in trained]
    averages = [
        [run_name, name, f"{value:.4f}"]
        for run_name, run in trained.items()
        for name, value in run.items()
        if name.startswith(("decay", "power"))
    ]
    return "\n\n".join(
        [
            table(head, rows),
            table(["sampled", *SCORES], others),
            table(["run", "average", "loss under the law"], averages),
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main() -> None:
    for study, make in (("sizes", sizes), ("shapes", shapes), ("length", length), ("recipe", recipe)):
        if runs := Results(study).runs:
            print(f"## {study}\n\n{make(runs)}\n")


if __name__ == "__main__":
    main()
