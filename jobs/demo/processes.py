"""Which servers belong to a demo folder, so that none is left behind, not even by a killed demo."""

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 15.0
_FOLDER = "RAY_TMPDIR="
CLUSTERS = "/tmp/sora-ray-"
"""How the folders of a demo's clusters begin. A socket's path has 107 bytes, and Ray's own take 60 of them."""


class ProcessBook:
    """The process groups that a demo started, written down before anything can go wrong with them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, group: int) -> None:
        self._write([*self._read(), (group, _started(group))])

    def end_all(self) -> int:
        """End every group in the book that is still the one we started; how many there were."""
        groups = [group for group, started in self._read() if started and _started(group) == started]
        clusters = {folder for group in groups if (folder := _cluster_of(group))}
        for kind in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + PATIENCE_S
            alive = [group for group in groups if _signal(group, kind)]
            while alive and time.monotonic() < deadline:
                time.sleep(0.2)
                alive = [group for group in alive if _signal(group, None)]
            if not alive:
                break
        for folder in clusters:
            remove_cluster(folder)
        self._path.unlink(missing_ok=True)
        return len(groups)

    def _read(self) -> list[tuple[int, str]]:
        if not self._path.exists():
            return []
        return [(int(group), str(started)) for group, started in json.loads(self._path.read_text())]

    def _write(self, entries: list[tuple[int, str]]) -> None:
        self._path.write_text(json.dumps(entries))


def remove_cluster(folder: str) -> None:
    """End what a Ray head left behind, whose folder this is: jobs and workers have groups of their own."""
    for pid in _processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _cluster_of(pid: int) -> str:
    """The folder of the demo's Ray cluster that a process belongs to; empty for one of no cluster, or of another's."""
    told = next((entry.removeprefix(_FOLDER) for entry in _environment(pid) if entry.startswith(_FOLDER)), "")
    return told if told.startswith(CLUSTERS) else ""


def _processes_of(folder: str) -> list[int]:
    """The living processes of a cluster: its folder stands on their command line, or as Ray's in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            named = folder.encode() in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if named or f"{_FOLDER}{folder}" in _environment(int(entry.name)):
            found.append(int(entry.name))
    return found


def _environment(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot: a pid with another start is another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def _signal(group: int, kind: signal.Signals | None) -> bool:
    """Send a signal (None only asks); False when no process of the group is left."""
    try:
        os.killpg(group, kind or 0)
    except ProcessLookupError:
        return False
    return True
