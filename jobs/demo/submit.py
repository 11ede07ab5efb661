"""``ray job submit`` as a user types it, its log shown without what a user can do nothing about."""

import json
import re
import subprocess
import sys
from pathlib import Path

from jobs.demo.cluster import LocalCluster, program
from sora_core.errors import SoraError

CONFIGS = Path(__file__).parents[1] / "configs"

# Ray's own: which commands could come next, what its classes are called with, its lists' limits, its connections.
_NOISE = re.compile(
    r"cli\.py:\d+|Actor with class name|constructor arguments|ListTasks|list_tasks"
    r"|-- Connecting to existing Ray cluster|-- Connected to Ray cluster|-- Runtime env is setting up"
    r"|-- WebSocket closed|-- Progress bars disabled|FutureWarning|warnings\.warn\("
)


def submit(cluster: LocalCluster, job: str, settings: list[str]) -> None:
    """``ray job submit`` with its log shown; SoraError when the job fails."""
    command = [
        program("ray"), "job", "submit", "--address", cluster.dashboard_url, "--",
        sys.executable, "-m", f"jobs.{job}", "--config", str(CONFIGS / f"{job}.toml"), "--set", *settings,
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if not is_noise(line):
                sys.stdout.write(line)
                sys.stdout.flush()
    if running.returncode:
        raise SoraError(f"jobs.{job} failed with exit code {running.returncode}; its log is above and in the dashboard")


def is_noise(line: str) -> bool:
    """Whether a line of the command's output says nothing that a user could act on."""
    return bool(_NOISE.search(line))


def measured(module: str, arguments: list[str]) -> dict[str, float]:
    """What a module of the jobs measures on this machine and says as JSON. SoraError when it can't."""
    finished = subprocess.run(
        [sys.executable, "-m", f"jobs.{module}", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if finished.returncode:
        raise SoraError(f"jobs.{module} failed with exit code {finished.returncode}; what it said is above")
    told: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return told
