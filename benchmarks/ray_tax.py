"""What running under Ray Train costs: the loop as Ray's workers run it, beside the same loop in bare processes.

``python benchmarks/ray_tax.py [--workers 1] [--rounds 3]``. Both run at once on one machine, with the same config
and data, so whatever else the machine does slows both; each core has one of them. Only the steps of the time in which
both trained are counted, by the times in the runs' own records.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from data_wait import write

from jobs.demo.cluster import LocalCluster
from jobs.train.config import TrainConfig
from jobs.train.record import read_lines

WARM_UP_S = 3.0

_BARE = """
import sys, time
import torch
import torch.distributed as dist
from jobs.train.config import TrainConfig
from jobs.train.loop import train_steps
from jobs.train.record import read_lines
meet, rank, size, config, other = sys.argv[1:]
while not read_lines(other):  # ready, and waiting for Ray's workers to begin
    time.sleep(0.1)
if int(size) > 1:
    dist.init_process_group("gloo", f"file://{meet}", rank=int(rank), world_size=int(size))
train_steps(TrainConfig.model_validate_json(config), torch.device("cpu"), lambda step, loss: None)
"""
_UNDER_RAY = """
import sys
from jobs.launch import ray_session
from jobs.train.config import TrainConfig
from jobs.train.driver import fit
with ray_session():
    fit(TrainConfig.model_validate_json(sys.argv[1]))
"""


def start_bare(
    config: TrainConfig, other: TrainConfig, workers: int, environment: dict[str, str], meet: Path
) -> list[subprocess.Popen[bytes]]:
    """One process a worker; they begin when the other run does."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", _BARE, str(meet), str(rank), str(workers), config.model_dump_json(), other.output],
            env=environment, stderr=subprocess.DEVNULL,
        )
        for rank in range(workers)
    ]  # fmt: skip


def start_under_ray(config: TrainConfig, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The driver; its workers belong to the cluster."""
    command = [sys.executable, "-c", _UNDER_RAY, config.model_dump_json()]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ends(config: TrainConfig) -> list[float]:
    """When each step was done."""
    return [float(str(line["time"])) for line in read_lines(config.output).values()]


def compare(ray: TrainConfig, bare: TrainConfig) -> tuple[float, float, int]:
    """Seconds a step of each in the time in which both trained, and how many steps the fewer have."""
    of_both = ends(ray), ends(bare)
    began = max(times[0] for times in of_both) + WARM_UP_S
    ended = min(times[-1] for times in of_both)
    within = [[at for at in times if began <= at <= ended] for times in of_both]
    first, second = ((times[-1] - times[0]) / (len(times) - 1) for times in within)
    return first, second, min(map(len, within))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pack-tokens", type=int, default=640)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LocalCluster(Path(name) / "ray", {}) as cluster:
        folder = Path(name)
        write(str(folder / "data"), 400)
        environment = cluster.environment
        ratios = []
        for number in range(arguments.rounds):
            ray, bare = (
                TrainConfig.model_validate(
                    {
                        "data": str(folder / "data"), "output": str(folder / f"{kind}-{number}"),
                        "steps": arguments.steps, "checkpoint_every": arguments.steps,
                        "pack_tokens": arguments.pack_tokens, "packs_per_step": 2,
                        "num_workers": arguments.workers, "validation": {"clips": 0}, "model": {"num_layers": 2},
                        "samples": {"count": 0}, "log_every_s": 1.0,
                    }
                )
                for kind in ("ray", "bare")
            )  # fmt: skip
            driver = start_under_ray(ray, environment | {"RAY_ADDRESS": cluster.address})
            processes = start_bare(bare, ray, arguments.workers, environment, folder / f"meet-{number}")
            assert [process.wait() for process in [*processes, driver]] == [0] * (arguments.workers + 1)
            under_ray, alone, steps = compare(ray, bare)
            ratios.append(under_ray / alone)
            print(
                f"round {number + 1}: Ray Train {1e3 * under_ray:6.1f} ms, bare {1e3 * alone:6.1f} ms a step "
                f"({steps} steps): {100 * (ratios[-1] - 1):+.1f} %; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"{arguments.workers} workers: {100 * (statistics.median(ratios) - 1):+.1f} % a step, the median of rounds")


if __name__ == "__main__":
    main()
