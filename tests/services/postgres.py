"""A real PostgreSQL server for tests and benchmarks."""

import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

import sqlalchemy as sa


def postgres_binaries() -> Path | None:
    """The folder of the newest installed server, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """A server of its own in a temporary folder, on a free loopback port. ``durable``: commits reach the disk."""

    def __init__(self, binaries: Path, folder: Path, *, durable: bool = False) -> None:
        self._binaries, self._data, self.port, self._durable = binaries, folder / "data", free_port(), durable
        folder.chmod(0o755)
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._data, "postgres")
        self._call("initdb", "-D", str(self._data), "-U", "sora", "--auth=trust", "--no-sync", "--encoding=UTF8")

    @property
    def url(self) -> str:
        return f"postgresql://sora@127.0.0.1:{self.port}/postgres"

    def new_schema(self) -> str:
        """The URL of an empty schema of its own."""
        schema = f"t{uuid.uuid4().hex[:12]}"
        engine = sa.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as db:
            db.execute(sa.schema.CreateSchema(schema))
        engine.dispose()
        return f"{self.url}?options=-csearch_path%3D{schema}"

    def _call(self, program: str, *arguments: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*user, str(self._binaries / program), *arguments]
        done = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        fsync = "on" if self._durable else "off"
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync={fsync}"
        log = str(self._data / "server.log")
        self._call("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))
