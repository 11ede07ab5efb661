"""Folders for a moment, which are found and removed even when their process was killed, at whatever line."""

import fcntl
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "sora-"
_OURS = re.compile(r"sora-[a-z0-9_]{8}")
_HELD = ".held"
_SOON = ".held-soon"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty local folder that is gone afterwards; a lock beside it, which ends with the process, says that it is in
    use. The lock is there before anything else, and goes last."""
    around = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder = around / "files"
    try:
        with (around / _SOON).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (around / _SOON).rename(around / _HELD)  # locked before a sweeper can see it
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(around, ignore_errors=True)


def sweep_scratch(unheld_for_s: float = 60.0) -> int:
    """Remove the folders whose processes are gone; how many. One that has no lock yet, or no more, has nothing in it,
    and is somebody's until it has been so for a while."""
    swept = 0
    for around in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not _OURS.fullmatch(around.name):
            continue
        if (around / _HELD).exists():
            if _is_free(around / _HELD):
                shutil.rmtree(around, ignore_errors=True)
                swept += 1
        else:
            swept += _remove_empty(around, unheld_for_s)
    return swept


def _remove_empty(around: Path, unheld_for_s: float) -> bool:
    """Remove a folder that holds nothing but the lock of a process that died before it took it."""
    with suppress(OSError):
        if time.time() - around.stat().st_mtime >= unheld_for_s:
            if [path.name for path in around.iterdir()] == [_SOON]:
                (around / _SOON).unlink()
            around.rmdir()
            return True
    return False


def _is_free(held: Path) -> bool:
    try:
        with held.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use, another user's, or gone by now
        return False
    return True
