"""A Ray head node as a child process of its own group, so that ending it ends nothing else on the machine."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

from jobs.demo.processes import CLUSTERS, remove_cluster
from jobs.demo.s3 import free_port
from sora_core.errors import StorageUnavailable

STARTUP_S = 60.0
ATTEMPTS = 3


def program(name: str) -> str:
    """A command of this Python's environment."""
    return str(Path(sys.executable).with_name(name))


class LocalCluster:
    """``ray start --head`` on loopback, with the dashboard; a context manager.

    ``environment`` is what every job and replica on it inherits (the S3 credentials, say). ``num_cpus`` are logical:
    more than the cores, since an actor waiting for work holds one. ``started`` hears the process group before
    anything can go wrong with it.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *,
        num_cpus: int = 8,
        dashboard_port: int | None = None,
        object_store_bytes: int = 400_000_000,
        started: Callable[[int], None] = lambda _group: None,
    ) -> None:
        self.folder = folder
        self._started = started
        self.num_cpus = num_cpus
        self.object_store_bytes = object_store_bytes
        self.dashboard_port = dashboard_port or free_port()
        self.gcs_port = free_port()
        self.metrics_port = free_port()
        self._tmp = Path(f"{CLUSTERS}{os.getpid()}-{self.gcs_port}")
        self.environment = (
            os.environ
            | {
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_TMPDIR": str(self._tmp),
                "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",
                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
                "RAY_metrics_report_interval_ms": "2000",
                "RAY_prestart_worker_first_driver": "0",  # eight idle processes otherwise
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OMP_NUM_THREADS": "1",
                "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "services.video.proxy:middlewares",
            }
            | environment
        )
        self.environment.pop("RAY_ADDRESS", None)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What RAY_ADDRESS takes."""
        return f"127.0.0.1:{self.gcs_port}"

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard and the job API are."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes this node."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def start(self) -> Self:
        """Start the head node and wait until its job API answers; a slow machine gets a few attempts."""
        self._tmp.mkdir(exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            if self._attempt():
                return self
            self.stop()
        tail = (self.folder / "ray.txt").read_text(errors="replace")[-800:]
        raise StorageUnavailable(f"Ray's head node didn't start in {ATTEMPTS} attempts; its log ends: {tail}")

    def _attempt(self) -> bool:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            f"--port={self.gcs_port}", f"--num-cpus={self.num_cpus}", "--disable-usage-stats",
            f"--object-store-memory={self.object_store_bytes}", f"--dashboard-port={self.dashboard_port}",
            f"--metrics-export-port={self.metrics_port}", f"--ray-client-server-port={free_port()}",
            f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={self._tmp}",
        ]  # fmt: skip
        with (self.folder / "ray.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, start_new_session=True, cwd=self.folder
            )
        self._started(self._process.pid)
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.dashboard_url}/api/jobs/", timeout=5):
                    return True
            except OSError:
                time.sleep(0.3)
        return False

    def stop(self) -> None:
        """End every process of the cluster, politely and then by force; nothing of value is lost with them."""
        if self._process is None:
            return
        group = self._process.pid
        for kind, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            _signal_group(group, kind)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and self._alive(group):
                time.sleep(0.2)
        self._process.wait()
        self._process = None
        remove_cluster(str(self._tmp))

    def _alive(self, group: int) -> bool:
        """Whether a process of the group is left, apart from a zombie that only waits for us."""
        assert self._process is not None
        self._process.poll()
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _signal_group(group: int, kind: signal.Signals) -> None:
    try:
        os.killpg(group, kind)
    except ProcessLookupError:
        return
