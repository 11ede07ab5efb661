"""What a run will need is known before it starts."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from sora_core import precision
from sora_core.dit.config import DiTConfig
from sora_core.shapes import LatentShape
from sora_core.training.memory import GIB, Needs, Workload, needs
from sora_core.training.optim import OptimRules
from sora_core.training.parallel import Layout

DIT = DiTConfig(
    num_attention_heads=4, attention_head_dim=64, in_channels=16, out_channels=16, text_dim=64, ffn_dim=1024,
    num_layers=5, pooled_text=True,
)  # fmt: skip
RULES = OptimRules(1e-3, 0.02, (0.9, 0.95), 0.0, 0, 1.0)
WORK = Workload((LatentShape(16, 4, 32, 16),) * 4, 20, torch.bfloat16, checkpointing=False, accelerator=False)
ALONE = Layout()


def whole(dit: DiTConfig = DIT, work: Workload = WORK, layout: Layout = ALONE) -> Needs:
    return needs(dit, RULES, work, layout)


@pytest.mark.slow
def test_lasting_memory_is_four_bytes_a_parameter_and_more_for_the_optimizers() -> None:
    found = whole()
    assert found.weights == found.gradients == found.average
    assert found.weights < found.optimizer < 2 * found.weights, "one number for Muon, two for AdamW"
    six = whole(replace(DIT, num_layers=6))
    matrices = 8 * 256 * 256 + 2 * 256 * 1024
    assert six.weights - found.weights == pytest.approx(4 * matrices, rel=0.01)


@pytest.mark.slow
def test_what_saves_memory_is_seen_to_save_it() -> None:
    plain, checkpointed = whole(), whole(work=replace(WORK, checkpointing=True))
    assert checkpointed.activations < 0.5 * plain.activations
    assert checkpointed.weights == plain.weights
    shared = whole(layout=Layout(0, 4, 4, 1))
    assert shared.weights == plain.weights / 4
    assert shared.optimizer == plain.optimizer / 4
    assert shared.gathered > 0
    split = whole(layout=Layout(0, 2, 1, 2))
    assert split.activations == plain.activations / 2
    beside = whole(work=replace(WORK, accelerator=True))
    assert (beside.snapshot, beside.host) == (0, plain.snapshot)
    assert f"and {beside.host / GIB:.2f} GiB of the machine's own" in str(beside)


_MEASURE = """
import sys
from pathlib import Path
import numpy as np, torch
from sora_core.diffusion.flow import ShiftLaw
from sora_core.dit.model import DiT
from sora_core.training.draws import DrawRules, draw_step
from sora_core.training.plan import PlannedStep, Position
from sora_core.training.step import Example, Objective
from sora_core.training.trainer import Trainer
from sora_core.vae.whitening import Whitening
from dataclasses import replace
from tests.sora_core.training.test_memory import DIT, RULES, WORK
def train(dit, work):
    clips = []
    for number, shape in enumerate(work.shapes):
        mean = torch.randn(shape.as_tuple()).half()
        clips.append(Example(str(number), mean, torch.zeros_like(mean), torch.randn(work.text_tokens, 64).half()))
    model = DiT(dit)
    model.activation_checkpointing = work.checkpointing
    objective = Objective(dit.patch, Whitening((0.0,) * 16, (1.0,) * 16), ShiftLaw(3.0), torch.zeros(2, 64))
    how = dict(num_steps=9, ema_decay=0.9, precision=work.precision, device=torch.device("cpu"))
    trainer = Trainer(model, objective, RULES, **how)
    for step in (1, 2):
        planned = PlannedStep(step, 0, (np.arange(len(clips)),), (), (), (1.0,), Position(step))
        trainer.step(planned, [list(enumerate(clips))], draw_step(DrawRules(0, 0.0), step, len(clips)))
WORK = replace(WORK, precision=getattr(torch, sys.argv[1]))
saving = replace(WORK, checkpointing=True)
train(replace(DIT, num_layers=1, num_attention_heads=1), replace(saving, shapes=saving.shapes[:1]))
base = 4096 * int(Path("/proc/self/statm").read_text().split()[1])
for work in (saving, WORK):
    train(DIT, work)
    # Not getrusage's peak: a process inherits that of its parent.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(1024 * int(peak.split()[1]) - base)
"""


@pytest.mark.slow
def test_the_estimate_is_what_a_real_step_takes() -> None:
    """In the numbers that this machine computes fast: in others a step takes minutes."""
    fast = precision.fast("cpu")
    # Freed memory goes back at once with this threshold, so the process holds what its tensors hold.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _MEASURE, fast]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for checkpointing, measured in zip((True, False), map(int, done.stdout.split()), strict=True):
        found = whole(work=replace(WORK, checkpointing=checkpointing, precision=precision.dtype_of(fast)))
        assert measured == pytest.approx(found.total - found.snapshot, rel=0.2), (found, measured / GIB)
