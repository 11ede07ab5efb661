"""torch's distributed checkpoints straight to and from a place by URI: every worker streams its own parts."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from sora_core import storage

Path = str | os.PathLike[str]


class _Objects(FileSystem):
    """What torch takes for a file system."""

    @contextmanager
    def create_stream(self, path: Path, mode: str) -> Iterator[Any]:
        uri = os.fspath(path)
        stream: Any = storage.open_output(uri) if "w" in mode else storage.open_input(uri)
        with stream as opened:
            yield opened

    def concat_path(self, path: Path, suffix: str) -> str:
        return storage.join(os.fspath(path), suffix)

    def init_path(self, path: Path) -> str:
        return os.fspath(path)

    def rename(self, path: Path, new_path: Path) -> None:
        """Only torch's metadata is ever renamed, and it is small."""
        storage.write_bytes(os.fspath(new_path), storage.read_bytes(os.fspath(path)))
        storage.delete(os.fspath(path))

    def mkdir(self, path: Path) -> None:
        """A stream makes its folder."""

    def exists(self, path: Path) -> bool:
        return storage.exists(os.fspath(path))

    def rm_file(self, path: Path) -> None:
        storage.delete(os.fspath(path))


class _Writer(FileSystemWriter):
    def __init__(self, uri: str) -> None:
        # To sync a stream that is no file, torch would sync every disk of the machine.
        super().__init__(uri, sync_files=False)
        self.fs = _Objects()
        self.path = uri


class _Reader(FileSystemReader):
    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.fs = _Objects()
        self.path = uri


def write(uri: str, tensors: Mapping[str, Tensor], group: ProcessGroup | None) -> None:
    """Store the parts that the workers of a group hold, all at once; without a group this process holds all.

    What fails for one of them is raised by all alike.
    """
    with _alone_on_purpose(), _unwrapped():
        save(dict(tensors), storage_writer=_Writer(uri), process_group=group, no_dist=group is None)


def read(uri: str, tensors: Mapping[str, Tensor], group: ProcessGroup | None) -> None:
    """Fill tensors, whole or in shards, from what was stored, however it was divided; failures as in `write`."""
    with _alone_on_purpose(), _unwrapped():
        load(dict(tensors), storage_reader=_Reader(uri), process_group=group, no_dist=group is None)


@contextmanager
def _alone_on_purpose() -> Iterator[None]:
    """Torch warns of a process that reads or writes without a group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Torch's exception tells what happened to whom, and is a BaseException; the house raises what happened."""
    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None


def index(uri: str) -> Metadata:
    """What is stored there, by name."""
    return _Reader(uri).read_metadata()


def shapes(known: Metadata) -> dict[str, TensorStorageMetadata]:
    """The tensors among it."""
    return {name: item for name, item in known.state_dict_metadata.items() if isinstance(item, TensorStorageMetadata)}


def missing(uri: str, known: Metadata) -> list[str]:
    """The files that it needs, and that are gone or too short."""
    needed: dict[str, int] = {}
    for place in known.storage_data.values():
        needed[place.relative_path] = max(needed.get(place.relative_path, 0), place.offset + place.length)
    sizes = {storage.name(item.uri): item.size for item in storage.list_objects(uri)}
    return sorted(name for name, size in needed.items() if sizes.get(name, 0) < size)
