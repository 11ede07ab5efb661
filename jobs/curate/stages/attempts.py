"""How often work was begun and not ended, so that what kills its actor isn't retried for ever.

A mark is put before the work and taken away after it. It lies in the storage, since whoever put it may be gone with its
machine. Work that was begun twice in vain is done in single objects; one that then is begun twice in vain is to blame.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from jobs.curate.rows import short_hash
from sora_core import storage

# The reason of an input that twice brought down the process that had nothing else to do.
KILLED_ITS_ACTOR = "killed_its_actor"
_FOLDER = "attempts"
_ENOUGH = 2


class Attempts:
    """The marks of one stage under an output."""

    def __init__(self, output: str, stage: str) -> None:
        self._output = output
        self._stage = stage

    @contextmanager
    def begun(self, *what: str) -> Iterator[bool]:
        """Marks ``what`` as being worked on, and gives whether that was begun too often before in vain."""
        name = f"{self._stage}-{short_hash(*what)}"
        number = next(n for n in count() if storage.write_bytes(self._uri(name, n), b"", if_absent=True))
        try:
            yield number >= _ENOUGH
        finally:
            for n in range(number + 1):
                storage.delete(self._uri(name, n))

    def _uri(self, name: str, number: int) -> str:
        return storage.join(self._output, _FOLDER, f"{name}-{number}")


def forget(output: str) -> None:
    """Remove all marks: what a run left that somebody ended says nothing."""
    storage.delete_prefix(storage.join(output, _FOLDER, ""))
