"""Which objects there are."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from sora_core.errors import MissingObject
from sora_core.storage.failures import explained
from sora_core.storage.places import client, is_s3, local_path, split

PARTIAL = ".partial"
"""The end of a temporary file's name: it isn't listed, and becomes an object by a rename."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object. ``etag`` changes when its content does; ``modified`` is Unix time in seconds."""

    uri: str
    etag: str
    size: int
    modified: float


def list_objects(uri: str) -> Iterator[ObjectInfo]:
    """Every object under a prefix or folder, in order of name; pages are fetched as they are consumed.

    MissingObject when the bucket or folder doesn't exist.
    """
    if is_s3(uri):
        yield from _list_s3(uri)
        return
    root = local_path(uri)
    with explained(uri):
        try:
            is_file = not stat.S_ISDIR(root.stat().st_mode)  # `Path.is_dir` calls missing what can't be looked at
        except (FileNotFoundError, NotADirectoryError):
            raise MissingObject(f"{uri}: no such folder; correct the path") from None
        if is_file:
            yield _stat(root)
            return
        for path in sorted(_files_below(root)):
            try:
                found = _stat(path)
            except FileNotFoundError:  # removed meanwhile
                continue
            yield found


def _files_below(root: Path) -> Iterator[Path]:
    """Every file in a folder and those below it; what is removed meanwhile may be among them."""

    def go_on(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, _, names in os.walk(root, onerror=go_on):
        for name in names:
            if not name.endswith(PARTIAL):
                yield Path(folder, name)


def _list_s3(uri: str) -> Iterator[ObjectInfo]:
    bucket, key = split(uri)
    with explained(uri):
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        for page in pages:
            for item in page.get("Contents", []):
                if item["Key"].endswith("/") or not _under(item["Key"], key):
                    continue
                yield ObjectInfo(
                    f"s3://{bucket}/{item['Key']}",
                    item["ETag"].strip('"'),
                    item["Size"],
                    item["LastModified"].timestamp(),
                )


def _under(key: str, prefix: str) -> bool:
    """Whether a key is the prefix itself or lies in it as a folder, so that ``run-1`` doesn't list ``run-10``."""
    return not prefix or prefix.endswith("/") or key == prefix or key.startswith(prefix + "/")


def _stat(path: Path) -> ObjectInfo:
    """A local file's entry; its etag is that of size and time, which change with the content."""
    found = path.stat()
    tag = md5(f"{found.st_size}-{found.st_mtime_ns}".encode(), usedforsecurity=False).hexdigest()
    return ObjectInfo(str(path), tag, found.st_size, found.st_mtime)


def head(uri: str) -> ObjectInfo:
    """One object's entry. MissingObject if there is none."""
    with explained(uri):
        if not is_s3(uri):
            return _stat(local_path(uri))
        bucket, key = split(uri)
        found = client().head_object(Bucket=bucket, Key=key)
        return ObjectInfo(uri, found["ETag"].strip('"'), found["ContentLength"], found["LastModified"].timestamp())


def exists(uri: str) -> bool:
    """Whether there is such an object."""
    try:
        head(uri)
    except MissingObject:
        return False
    return True
