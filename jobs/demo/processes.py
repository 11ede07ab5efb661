"""Which servers belong to a demo folder, so that none is left behind, not even by a killed demo."""

import json
import os
import signal
import time
from pathlib import Path

PATIENCE_S = 15.0


class ProcessBook:
    """The process groups that a demo started, written down before anything can go wrong with them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, group: int) -> None:
        self._write([*self._read(), (group, _started(group))])

    def end_all(self) -> int:
        """End every group in the book that is still the one we started; how many there were."""
        groups = [group for group, started in self._read() if started and _started(group) == started]
        for kind in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + PATIENCE_S
            alive = [group for group in groups if _signal(group, kind)]
            while alive and time.monotonic() < deadline:
                time.sleep(0.2)
                alive = [group for group in alive if _signal(group, None)]
            if not alive:
                break
        self._path.unlink(missing_ok=True)
        return len(groups)

    def _read(self) -> list[tuple[int, str]]:
        if not self._path.exists():
            return []
        return [(int(group), str(started)) for group, started in json.loads(self._path.read_text())]

    def _write(self, entries: list[tuple[int, str]]) -> None:
        self._path.write_text(json.dumps(entries))


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
