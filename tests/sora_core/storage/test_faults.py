"""Throttling, errors, resets, cut and slow answers: ridden out, or told as what they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.demo.s3 import EmbeddedS3
from sora_core import storage
from sora_core.errors import AccessDenied
from tests.faulty_s3 import Fault, faulty

DATA = bytes(range(256)) * 400
Operation = Callable[[str, Path], bytes]


def read(uri: str, _: Path) -> bytes:
    return storage.read_bytes(uri)


def download(uri: str, folder: Path) -> bytes:
    return storage.download(uri, folder / "copy").read_bytes()


def read_range(uri: str, _: Path) -> bytes:
    with storage.open_input(uri) as source:
        source.seek(len(DATA) // 2)
        second = source.read()
        source.seek(0)
        return source.read(len(DATA) // 2) + second


def write(uri: str, _: Path) -> bytes:
    storage.write_bytes(uri + "-new", DATA)
    return storage.read_bytes(uri + "-new")


def upload(uri: str, folder: Path) -> bytes:
    (folder / "file").write_bytes(DATA)
    storage.upload(folder / "file", uri + "-up")
    return storage.read_bytes(uri + "-up")


def listed(uri: str, _: Path) -> bytes:
    [found] = [item for item in storage.list_objects(uri.rpartition("/")[0]) if item.uri == uri]
    assert storage.head(uri).etag == found.etag
    return DATA if found.size == len(DATA) else b""


@pytest.fixture
def stored(s3: str) -> str:
    storage.write_bytes(f"{s3}/object", DATA)
    return f"{s3}/object"


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncated", "slow"])
@pytest.mark.parametrize("operation", [read, download, read_range, write, upload, listed])
def test_a_failed_attempt_is_ridden_out(
    operation: Operation,
    fault: Fault,
    stored: str,
    s3_server: EmbeddedS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with faulty(s3_server.credentials.endpoint, lambda _m, _p, n: fault if n == 0 else None) as (url, injected):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert operation(stored, tmp_path) == DATA
    assert injected[fault] >= 1


def test_credentials_that_expire_are_said_to_have_expired(
    stored: str, s3_server: EmbeddedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty(s3_server.credentials.endpoint, lambda _m, _p, _n: "expired") as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(AccessDenied, match=r"expired.*renew them"):
            storage.read_bytes(stored)
        with pytest.raises(AccessDenied, match=r"expired.*renew them"):
            storage.head(stored)


def test_a_bucket_that_may_only_be_read_is_found_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(name: str, actions: list[str]) -> dict[str, object]:
        keys = [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}]
        return {"name": name, "credentials": keys, "actions": actions}

    identities = [
        identity("owner", ["Admin", "Read", "List", "Tagging", "Write"]),
        identity("reader", ["Read", "List"]),
    ]
    (tmp_path / "s3.json").write_text(json.dumps({"identities": identities}))
    with EmbeddedS3(tmp_path) as server:
        for name, value in server.credentials.environment().items():
            monkeypatch.setenv(name, value)
        storage.create_bucket("s3://shared-data")
        storage.write_bytes("s3://shared-data/footage/x", b"x")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "reader-secret")
        storage.check_readable("s3://shared-data/footage")
        with pytest.raises(AccessDenied, match=r"shared-data/out"):
            storage.check_writable("s3://shared-data/out")
