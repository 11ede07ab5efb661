"""Folders for a moment, which are found and removed even when their process was killed."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "sora-"
_HELD = ".held"


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty local folder that is gone afterwards; a lock beside it, which ends with the process, says that it is in
    use."""
    around = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder = around / "files"
    try:
        folder.mkdir()
        with (around / f"{_HELD}-soon").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (around / f"{_HELD}-soon").rename(around / _HELD)  # locked before a sweeper can see it
            yield folder
    finally:
        shutil.rmtree(around, ignore_errors=True)


def sweep_scratch() -> int:
    """Remove the folders whose processes are gone; how many."""
    swept = 0
    for held in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_HELD}"):
        if _is_free(held):
            shutil.rmtree(held.parent, ignore_errors=True)
            swept += 1
    return swept


def _is_free(held: Path) -> bool:
    try:
        with held.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use, another user's, or gone by now
        return False
    return True
