"""What a URI means, and the S3 client behind it."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config

from sora_core.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def is_s3(uri: str) -> bool:
    return uri.startswith("s3://")


def join(uri: str, *parts: str) -> str:
    """``uri`` with path segments appended."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def name(uri: str) -> str:
    """The last segment of a URI."""
    return uri.rstrip("/").rsplit("/", 1)[-1]


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise StorageError(f"{uri!r} names no bucket: write s3://bucket/prefix")
    return bucket, key


def local_path(uri: str) -> Path:
    """The local path of a file URI or plain path."""
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise StorageError(f"{uri!r}: unknown scheme {parts.scheme!r}; use s3://, file:// or a path")
    return Path(unquote(parts.path))


_CONNECTIONS = 32  # as many as threads read at once; boto3's own ten would be closed and opened again


@lru_cache(maxsize=8)
def _client_for(_pid: int, _endpoint: str | None, _key: str | None) -> "S3Client":
    """One client a process and account: boto3 clients are thread-safe, but don't survive a fork."""
    config = Config(
        retries={"mode": "standard", "max_attempts": 6},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=_CONNECTIONS,
    )
    session = boto3.session.Session()  # the default session would keep the first credentials it saw
    return session.client("s3", config=config, region_name=os.environ.get("AWS_REGION", "us-east-1"))


def client() -> "S3Client":
    env = os.environ
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    return _client_for(os.getpid(), endpoint, env.get("AWS_ACCESS_KEY_ID"))


def filesystem(uri: str) -> tuple[Any, str]:
    """The pyarrow filesystem of a URI and the path in it."""
    if not is_s3(uri):
        return pyarrow.fs.LocalFileSystem(), str(local_path(uri))
    env = os.environ
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {"region": env.get("AWS_REGION", "us-east-1")}
    if endpoint:
        parts = urlsplit(endpoint)
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    bucket, key = split(uri)
    return pyarrow.fs.S3FileSystem(**options), f"{bucket}/{key}"
