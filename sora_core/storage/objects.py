"""Reading, writing and moving objects."""

import errno
import io
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import quote

import botocore.exceptions

from sora_core.errors import MissingObject
from sora_core.scratch import scratch
from sora_core.storage.failures import explained
from sora_core.storage.listing import PARTIAL, list_objects
from sora_core.storage.places import client, filesystem, is_s3, join, local_path, name, split

_BROKEN = (
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
)
_BROKEN_RETRY_S = (0.1, 0.5, 2.0, 5.0)
_RACES = (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY)


def read_bytes(uri: str) -> bytes:
    """The whole object."""
    with explained(uri):
        if not is_s3(uri):
            return local_path(uri).read_bytes()
        return _whole_body(*split(uri))


def _whole_body(bucket: str, key: str) -> bytes:
    """An object's bytes. boto3 tries a refused request again, but not an answer that breaks off on the way."""
    for pause_s in (*_BROKEN_RETRY_S, None):
        try:
            return client().get_object(Bucket=bucket, Key=key)["Body"].read()
        except _BROKEN:
            if pause_s is None:
                raise
            time.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")


def read_range(uri: str, start: int, length: int) -> bytes:
    """``length`` bytes from ``start`` on in one request; fewer when the object ends before."""
    with explained(uri):
        if not is_s3(uri):
            with local_path(uri).open("rb") as file:
                file.seek(start)
                return file.read(length)
        bucket, key = split(uri)
        try:
            answer = client().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
                return b""
            raise
        return answer["Body"].read()


def write_bytes(uri: str, data: bytes, *, if_absent: bool = False) -> bool:
    """Put an object whole or not at all. With ``if_absent`` the first writer wins; False for the others."""
    with explained(uri):
        if is_s3(uri):
            return _put_s3(uri, data, if_absent)
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            return _publish(Path(partial), path, if_absent)
        finally:
            Path(partial).unlink(missing_ok=True)


def _publish(partial: Path, path: Path, if_absent: bool) -> bool:
    """Give a finished temporary file its name in one system call."""
    partial.chmod(0o644)
    if not if_absent:
        partial.replace(path)
        return True
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    return True


def _put_s3(uri: str, data: bytes, if_absent: bool) -> bool:
    bucket, key = split(uri)
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
    try:
        client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
    except botocore.exceptions.ClientError as error:
        if if_absent and error.response["ResponseMetadata"].get("HTTPStatusCode") in (409, 412):
            return False
        raise
    return True


def open_input(uri: str) -> BinaryIO:
    """A seekable reader of ranges, for files of which only a part is needed."""
    fs, path = filesystem(uri)
    with explained(uri):
        return cast(BinaryIO, io.BufferedReader(_RawInput(fs.open_input_file(path)), 1 << 20))


@contextmanager
def open_output(uri: str) -> Iterator[IO[bytes]]:
    """A stream to an object, sent on in parts as it grows; one that fails half-way may leave a part of it there."""
    fs, path = filesystem(uri)
    with explained(uri):
        if not is_s3(uri):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with fs.open_output_stream(path) as stream:
            yield stream


def download(uri: str, path: Path | str) -> Path:
    """Copy an object to a local path, which appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    with explained(uri):
        if is_s3(uri):
            bucket, key = split(uri)
            client().download_file(bucket, key, str(partial))
        else:
            shutil.copyfile(local_path(uri), partial)
        return partial.replace(path)


def upload(path: Path | str, uri: str, *, content_type: str | None = None) -> None:
    """Copy a local file to a URI; multipart above 8 MiB, visible whole or not at all."""
    with explained(uri):
        if is_s3(uri):
            bucket, key = split(uri)
            extra = {"ContentType": content_type} if content_type else {}
            client().upload_file(str(path), bucket, key, ExtraArgs=extra)
            return
        target = local_path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + PARTIAL)
        shutil.copyfile(path, partial)
        partial.replace(target)


def upload_folder(path: Path | str, uri: str) -> None:
    """Copy every file below a local folder to below a URI."""
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            upload(file, join(uri, file.relative_to(path).as_posix()))


def download_folder(uri: str, path: Path | str) -> Path:
    """Copy every object below a URI to below a local folder. MissingObject when there is none."""
    prefix = uri.rstrip("/") + "/" if is_s3(uri) else str(local_path(uri)) + "/"
    found = False
    for item in list_objects(prefix):
        found = True
        download(item.uri, Path(path) / item.uri.removeprefix(prefix))
    if not found:
        raise MissingObject(f"{uri}: nothing is stored there; correct the URI")
    return Path(path)


def delete(uri: str) -> None:
    """Remove an object; a missing one is no error."""
    with explained(uri):
        if is_s3(uri):
            bucket, key = split(uri)
            client().delete_object(Bucket=bucket, Key=key)
        else:
            local_path(uri).unlink(missing_ok=True)


def delete_prefix(uri: str) -> None:
    """Remove everything below a URI."""
    if not is_s3(uri):
        with explained(uri):
            _remove(local_path(uri))
        return
    for item in list(list_objects(uri)):
        delete(item.uri)


def _remove(path: Path) -> None:
    """Remove a file or a folder; what others remove or fill meanwhile is no error, a place that is away is one."""

    def go_on(_function: Any, _path: Any, failure: Any) -> None:
        if failure[1].errno not in _RACES:
            raise failure[1]

    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_folder:
        shutil.rmtree(path, onerror=go_on)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def local_file(uri: str) -> Iterator[Path]:
    """The object as a local file, for libraries that want a path; a download is removed afterwards."""
    if not is_s3(uri):
        path = local_path(uri)
        with explained(uri):
            is_file = stat.S_ISREG(path.stat().st_mode)  # `Path.is_file` calls missing what can't be looked at
        if not is_file:
            raise MissingObject(f"{uri}: no such file; correct the path")
        yield path
        return
    with scratch() as folder:
        yield download(uri, folder / name(uri))


def presign(uri: str, expires_s: int = 3600) -> str:
    """A URL that reads the object without credentials until it expires; a file URL for a local one."""
    if not is_s3(uri):
        return "file://" + quote(str(local_path(uri)))
    bucket, key = split(uri)
    return client().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_s)


def check_readable(uri: str) -> None:
    """Raise the StorageError that a reader of this place would meet; an empty prefix is a MissingObject."""
    if next(iter(list_objects(uri)), None) is None:
        raise MissingObject(f"{uri}: nothing is stored there; correct the URI or upload something first")


def check_writable(uri: str) -> None:
    """Raise the StorageError that a writer to this place would meet, by writing and removing a small object."""
    probe = join(uri, ".write-check")
    write_bytes(probe, b"")
    delete(probe)


def create_bucket(uri: str) -> None:
    """Make the bucket of an s3 URI, or the folder of a local one, unless it exists."""
    with explained(uri):
        if not is_s3(uri):
            local_path(uri).mkdir(parents=True, exist_ok=True)
            return
        bucket, _ = split(uri)
        if bucket not in {entry["Name"] for entry in client().list_buckets()["Buckets"]}:
            client().create_bucket(Bucket=bucket)


class _RawInput(io.RawIOBase):
    """pyarrow's random-access file with the interface that Python's readers expect."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
