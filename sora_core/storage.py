"""One URI for a bucket and for a folder: ``s3://bucket/key``, ``file:///path`` or a plain path.

Endpoint and credentials are the standard ``AWS_*`` variables, as boto3 reads them; with ``AWS_ENDPOINT_URL`` unset
the same code talks to AWS. Every failure is a `StorageError` that names the URI and the remedy.
"""

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

import boto3
import botocore.exceptions
import pyarrow.fs
from botocore.config import Config

from sora_core.errors import AccessDenied, MissingObject, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object. ``etag`` changes when its content does; ``modified`` is Unix time in seconds."""

    uri: str
    etag: str
    size: int
    modified: float


# --- names


def is_s3(uri: str) -> bool:
    return uri.startswith("s3://")


def join(uri: str, *parts: str) -> str:
    """``uri`` with path segments appended."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def name(uri: str) -> str:
    """The last segment of a URI."""
    return uri.rstrip("/").rsplit("/", 1)[-1]


def _split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise StorageError(f"{uri!r} names no bucket: write s3://bucket/prefix")
    return bucket, key


def _path(uri: str) -> Path:
    """The local path of a file URI or plain path."""
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise StorageError(f"{uri!r}: unknown scheme {parts.scheme!r}; use s3://, file:// or a path")
    return Path(unquote(parts.path))


# --- clients and errors


@lru_cache(maxsize=8)
def _client_for(_pid: int, _endpoint: str | None, _key: str | None) -> "S3Client":
    """One client a process and account: boto3 clients are thread-safe, but don't survive a fork."""
    config = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=5, read_timeout=60)
    session = boto3.session.Session()  # the default session would keep the first credentials it saw
    return session.client("s3", config=config, region_name=os.environ.get("AWS_REGION", "us-east-1"))


def _client() -> "S3Client":
    env = os.environ
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    return _client_for(os.getpid(), endpoint, env.get("AWS_ACCESS_KEY_ID"))


_MISSING = {"NoSuchBucket", "NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


def _explain(error: Exception, uri: str) -> StorageError:
    """The error of the house for one of boto3's, pyarrow's or the operating system's."""
    if isinstance(error, botocore.exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            what = "bucket" if code == "NoSuchBucket" else "object"
            return MissingObject(f"{uri}: no such {what}; create it or correct the URI")
        if code in _DENIED:
            return AccessDenied(f"{uri}: access refused ({code}); check AWS_ACCESS_KEY_ID and the bucket policy")
        return StorageUnavailable(f"{uri}: the server answered {code or error}; try again later")
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        return AccessDenied(f"{uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return StorageError(f"{uri}: not a valid bucket or key name; correct the URI")
    if isinstance(error, botocore.exceptions.BotoCoreError):
        return StorageUnavailable(f"{uri}: no answer from the storage ({error}); check AWS_ENDPOINT_URL")
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return MissingObject(f"{uri}: no such file; correct the path")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{uri}: permission denied; check the owner of the folder")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageUnavailable(f"{uri}: the disk is full; free some room")
    return StorageUnavailable(f"{uri}: {error}")


_FAILURES = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, OSError)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise _explain(error, uri) from error


# --- looking


def list_objects(uri: str) -> Iterator[ObjectInfo]:
    """Every object under a prefix or folder, in order of name; pages are fetched as they are consumed.

    MissingObject when the bucket or folder doesn't exist.
    """
    if is_s3(uri):
        yield from _list_s3(uri)
        return
    root = _path(uri)
    with _explained(uri):
        if root.is_file():
            yield _stat(root)
            return
        if not root.is_dir():
            raise MissingObject(f"{uri}: no such folder; correct the path")
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.endswith(_PARTIAL):
                yield _stat(path)


def _list_s3(uri: str) -> Iterator[ObjectInfo]:
    bucket, key = _split(uri)
    with _explained(uri):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
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
    stat = path.stat()
    tag = md5(f"{stat.st_size}-{stat.st_mtime_ns}".encode(), usedforsecurity=False).hexdigest()
    return ObjectInfo(str(path), tag, stat.st_size, stat.st_mtime)


def head(uri: str) -> ObjectInfo:
    """One object's entry. MissingObject if there is none."""
    with _explained(uri):
        if not is_s3(uri):
            return _stat(_path(uri))
        bucket, key = _split(uri)
        found = _client().head_object(Bucket=bucket, Key=key)
        return ObjectInfo(uri, found["ETag"].strip('"'), found["ContentLength"], found["LastModified"].timestamp())


def exists(uri: str) -> bool:
    """Whether there is such an object."""
    try:
        head(uri)
    except MissingObject:
        return False
    return True


# --- reading and writing


def read_bytes(uri: str) -> bytes:
    """The whole object."""
    with _explained(uri):
        if not is_s3(uri):
            return _path(uri).read_bytes()
        bucket, key = _split(uri)
        return _client().get_object(Bucket=bucket, Key=key)["Body"].read()


_PARTIAL = ".partial"


def write_bytes(uri: str, data: bytes, *, if_absent: bool = False) -> bool:
    """Put an object whole or not at all. With ``if_absent`` the first writer wins; False for the others."""
    with _explained(uri):
        if is_s3(uri):
            return _put_s3(uri, data, if_absent)
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=_PARTIAL)
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
    bucket, key = _split(uri)
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
    try:
        _client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
    except botocore.exceptions.ClientError as error:
        if if_absent and error.response["ResponseMetadata"].get("HTTPStatusCode") in (409, 412):
            return False
        raise
    return True


def open_input(uri: str) -> BinaryIO:
    """A seekable reader of ranges, for files of which only a part is needed."""
    fs, path = filesystem(uri)
    with _explained(uri):
        return cast(BinaryIO, io.BufferedReader(_RawInput(fs.open_input_file(path)), 1 << 20))


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


def download(uri: str, path: Path | str) -> Path:
    """Copy an object to a local path, which appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + _PARTIAL)
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            _client().download_file(bucket, key, str(partial))
        else:
            shutil.copyfile(_path(uri), partial)
        return partial.replace(path)


def upload(path: Path | str, uri: str, *, content_type: str | None = None) -> None:
    """Copy a local file to a URI; multipart above 8 MiB, visible whole or not at all."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            extra = {"ContentType": content_type} if content_type else {}
            _client().upload_file(str(path), bucket, key, ExtraArgs=extra)
            return
        target = _path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + _PARTIAL)
        shutil.copyfile(path, partial)
        partial.replace(target)


def upload_folder(path: Path | str, uri: str) -> None:
    """Copy every file below a local folder to below a URI."""
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            upload(file, join(uri, file.relative_to(path).as_posix()))


def download_folder(uri: str, path: Path | str) -> Path:
    """Copy every object below a URI to below a local folder. MissingObject when there is none."""
    prefix = uri.rstrip("/") + "/" if is_s3(uri) else str(_path(uri)) + "/"
    found = False
    for item in list_objects(prefix):
        found = True
        download(item.uri, Path(path) / item.uri.removeprefix(prefix))
    if not found:
        raise MissingObject(f"{uri}: nothing is stored there; correct the URI")
    return Path(path)


def delete(uri: str) -> None:
    """Remove an object; a missing one is no error."""
    with _explained(uri):
        if is_s3(uri):
            bucket, key = _split(uri)
            _client().delete_object(Bucket=bucket, Key=key)
        else:
            _path(uri).unlink(missing_ok=True)


def delete_prefix(uri: str) -> None:
    """Remove everything below a URI."""
    if not is_s3(uri):
        with _explained(uri):
            shutil.rmtree(_path(uri), ignore_errors=True)
        return
    for item in list(list_objects(uri)):
        delete(item.uri)


@contextmanager
def local_file(uri: str) -> Iterator[Path]:
    """The object as a local file, for libraries that want a path; a download is removed afterwards."""
    if not is_s3(uri):
        path = _path(uri)
        if not path.is_file():
            raise MissingObject(f"{uri}: no such file; correct the path")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sora-") as folder:
        yield download(uri, Path(folder) / name(uri))


def presign(uri: str, expires_s: int = 3600) -> str:
    """A URL that reads the object without credentials until it expires; a file URL for a local one."""
    if not is_s3(uri):
        return "file://" + quote(str(_path(uri)))
    bucket, key = _split(uri)
    return _client().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=expires_s)


# --- other libraries, and checks at set-up


def filesystem(uri: str) -> tuple[Any, str]:
    """The pyarrow filesystem of a URI and the path in it."""
    if not is_s3(uri):
        return pyarrow.fs.LocalFileSystem(), str(_path(uri))
    env = os.environ
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {"region": env.get("AWS_REGION", "us-east-1")}
    if endpoint:
        parts = urlsplit(endpoint)
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    bucket, key = _split(uri)
    return pyarrow.fs.S3FileSystem(**options), f"{bucket}/{key}"


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
    with _explained(uri):
        if not is_s3(uri):
            _path(uri).mkdir(parents=True, exist_ok=True)
            return
        bucket, _ = _split(uri)
        if bucket not in {entry["Name"] for entry in _client().list_buckets()["Buckets"]}:
            _client().create_bucket(Bucket=bucket)
