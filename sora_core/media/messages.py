"""What a decoder's process and its owner say to one another: pickles whose arrays travel beside them uncopied, of which
the owner takes plain data alone, whoever has taken over the process."""

import io
import pickle
import sys
from array import array
from dataclasses import is_dataclass
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any

# Where the dataclasses and enums that may come out of a decoder's process are at home.
_OWN = ("sora_core", "jobs", "services")
# Functions that pickles of NumPy's arrays and of this project's errors call, and classes of the standard library.
_PLAIN = frozenset(
    {
        ("numpy", "dtype"), ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"),
        ("sora_core.errors", "_rebuild_unreadable"), ("pathlib", "Path"), ("pathlib", "PosixPath"),
        ("array", "array"), ("array", "_array_reconstructor"), ("collections", "deque"),
        ("collections", "OrderedDict"), ("fractions", "Fraction"), ("datetime", "datetime"),
        ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "bytearray"), ("builtins", "complex"),
    }
)  # fmt: skip


class Untrustworthy(Exception):
    """A message that isn't plain data."""


class Said(Enum):
    """What a message holds."""

    CALL = b"c"
    RESULT = b"r"
    ITEM = b"i"
    END = b"."
    ERROR = b"e"


def send(connection: Connection, said: Said, value: Any = None) -> None:
    """One message."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    sizes = array("Q", [view.nbytes for view in views]).tobytes()
    connection.send_bytes(said.value + len(views).to_bytes(4, "big") + sizes + pickled)
    for view in filter(len, views):
        connection.send_bytes(view)


def receive(connection: Connection, most_bytes: int | None = None) -> tuple[Said, Any]:
    """The next message. EOFError when the other side is gone.

    With ``most_bytes`` the other side isn't trusted: Untrustworthy for what is larger, or isn't plain data.
    """
    try:
        message = connection.recv_bytes(most_bytes)
        pickled_at = 5 + 8 * int.from_bytes(message[1:5], "big")
        sizes = array("Q", message[5:pickled_at])
        if most_bytes is not None and sum(sizes) > most_bytes:
            raise Untrustworthy(f"{sum(sizes)} bytes")
        buffers = [bytearray(size) for size in sizes]  # arrays in them can be written to
        for buffer in filter(None, buffers):
            connection.recv_bytes_into(buffer)
        file = io.BytesIO(message[pickled_at:])
        if most_bytes is None:
            return Said(message[:1]), pickle.Unpickler(file, buffers=buffers).load()
        return Said(message[:1]), _PlainData(file, buffers=buffers).load()
    except (EOFError, OSError, Untrustworthy):
        raise
    except Exception as error:
        if most_bytes is None:
            raise
        # A pickle made by hand may raise anything.
        raise Untrustworthy(f"{type(error).__name__}: {error}") from error


class _PlainData(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        # Looked up among what is imported: nothing is imported for it.
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and (issubclass(found, BaseException) or _is_own_data(found)):
            return found
        raise Untrustworthy(f"{module}.{name}")


def _is_own_data(found: type) -> bool:
    is_data = is_dataclass(found) or issubclass(found, (tuple, Enum))
    return is_data and found.__module__.split(".")[0] in _OWN
