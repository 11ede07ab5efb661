"""Files for a process that is nobody: as they are where everybody may read them, else a copy of its own."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sora_core.scratch import scratch

NOBODY = 65534


@contextmanager
def lent(path: Path) -> Iterator[Path]:
    """A file where a process of `NOBODY` may read it, which takes root to arrange."""
    if _is_open_to_all(path):
        yield path
        return
    with scratch() as folder:
        copy = Path(shutil.copyfile(path, folder / path.name))
        for one in (copy, folder, folder.parent):
            os.chown(one, NOBODY, NOBODY)
        yield copy


def hand_over(path: Path) -> None:
    """Make a file, or a folder that nobody else looks into, the decoder's own; root still reads and removes it."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def _is_open_to_all(path: Path) -> bool:
    """Whether everybody, or nobody, may pass every folder on the way to a file and read it."""
    file = path.resolve()
    return _allows(file, stat.S_IROTH, stat.S_IRUSR) and all(
        _allows(folder, stat.S_IXOTH, stat.S_IXUSR) for folder in file.parents
    )


def _allows(path: Path, to_all: int, to_owner: int) -> bool:
    status = path.stat()
    return bool(status.st_mode & (to_owner if status.st_uid == NOBODY else to_all))
