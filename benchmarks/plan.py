"""How the plan of a pass grows with the number of clips: time, memory, and how full and even its packs are.

``python benchmarks/plan.py [--clips 1000000 10000000]``. Each count is planned in a process of its own, so that its
peak of memory is its own. The mix is that of a web of footage: from photographs to clips that nearly fill a pack.
"""

import argparse
import multiprocessing
import os
import resource
import time
from dataclasses import dataclass

import numpy as np

from sora_core.training.order import Pool
from sora_core.training.plan import Plan, PlanRules, Position

PACK_TOKENS = 32_768
PACKS_PER_STEP = 16
ROWS_PER_GROUP = 8
LINEAR_WORK = 13_568.0  # 3 D + F of a 1.3-billion-parameter model


@dataclass(frozen=True)
class Measured:
    clips: int
    first_step_s: float
    resumed_step_s: float
    pass_s: float
    data_mib: float
    peak_mib: float
    real_tokens: float
    max_over_mean_work: float
    met: float


def lengths(clips: int) -> np.ndarray:
    """Tokens of each clip: latent frames and sides drawn apart, cut at a pack."""
    rng = np.random.default_rng(0)
    tokens = np.empty(clips, np.int32)
    for start in range(0, clips, 1 << 20):
        count = min(1 << 20, clips - start)
        frames = rng.choice([1, 2, 3, 5, 8, 11, 16, 21], p=[0.3, 0.1, 0.1, 0.15, 0.12, 0.1, 0.08, 0.05], size=count)
        area = rng.integers(12, 46, count) * rng.integers(12, 46, count)
        tokens[start : start + count] = np.minimum(frames * area, PACK_TOKENS)
    return tokens


def rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(clips: int) -> Measured:
    before = rss_mib()
    tokens = lengths(clips)
    starts = np.append(np.arange(0, clips, ROWS_PER_GROUP, dtype=np.int32), np.int32(clips))
    data_mib = (tokens.nbytes + starts.nbytes) / 2**20
    rules = PlanRules(0, PACK_TOKENS, PACKS_PER_STEP, LINEAR_WORK)
    began = time.perf_counter()
    plan = Plan(tokens, rules, [Pool(starts)])
    next(plan.steps())
    first_step_s = time.perf_counter() - began
    began = time.perf_counter()
    fills, ratios, met = [], [], 0
    for planned in plan.steps():
        if planned.window == plan.orders[None].windows_per_pass:
            break
        fills.append(planned.num_tokens / (PACK_TOKENS * PACKS_PER_STEP))
        ratios.append(max(planned.work) * PACKS_PER_STEP / sum(planned.work))
        met += planned.num_clips
        last = planned
    pass_s = time.perf_counter() - began
    began = time.perf_counter()
    next(Plan(tokens, rules, [Pool(starts)]).steps(Position(last.step, last.window, last.step, last.after.clips)))
    return Measured(
        clips, first_step_s, time.perf_counter() - began, pass_s, data_mib, rss_mib() - before,
        float(np.mean(fills)), float(np.mean(ratios)), met / clips,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments = parser.parse_args()
    print(f"packs of {PACK_TOKENS} tokens, {PACKS_PER_STEP} a step; load {os.getloadavg()[0]:.1f}")
    print("     clips  first step  resumed  a pass    us/clip  lengths  peak over start  real tokens  max/mean  met")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for found in pool.imap(measure, arguments.clips):
            print(
                f"{found.clips:10,d}  {found.first_step_s:8.2f} s {found.resumed_step_s:6.2f} s {found.pass_s:7.1f} s "
                f"{found.pass_s / found.clips * 1e6:8.2f} {found.data_mib:6.0f} MiB {found.peak_mib:12.0f} MiB "
                f"{100 * found.real_tokens:10.2f} % {found.max_over_mean_work:9.4f} {found.met:7.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
