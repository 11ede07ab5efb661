"""The losses of a run as a picture."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_SMOOTHING = 0.02
"""The running mean looks back over this part of the run."""


def draw_curve(lines: Mapping[int, Mapping[str, Any]]) -> bytes:
    """A PNG of the loss by step, and of the validation loss by step for each noise level."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = np.array(list(lines), dtype=np.int64)
    losses = np.array([line["loss"] for line in lines.values()], dtype=np.float64)
    left.plot(steps, losses, color="0.8", linewidth=0.7, label="each step")
    width = max(1, round(_SMOOTHING * len(losses)))
    if len(losses) >= width:
        left.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"), label=f"mean of {width}")
    left.set(xlabel="step", ylabel="loss", title="training")
    left.legend()
    judged = {step: line["val_loss"] for step, line in lines.items() if "val_loss" in line}
    for sigma in next(iter(judged.values()), {}):
        right.plot(list(judged), [values[sigma] for values in judged.values()], marker=".", label=f"sigma {sigma}")
    right.set(xlabel="step", title="validation, averaged weights" if judged else "no validation clips")
    if judged:
        right.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()
