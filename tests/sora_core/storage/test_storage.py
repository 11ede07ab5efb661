"""Each law runs on a local folder and on the real S3 server."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sora_core import storage
from sora_core.errors import AccessDenied, MissingObject, StorageError, StorageUnavailable
from sora_core.storage import objects


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "store")


def test_what_is_written_is_read_and_listed_with_an_etag_that_follows_the_content(place: str) -> None:
    uri = storage.join(place, "a", "b.bin")
    storage.write_bytes(uri, b"one")
    first = storage.head(uri)
    assert storage.read_bytes(uri) == b"one"
    assert [item.uri for item in storage.list_objects(place)] == [uri]
    assert first.size == 3
    storage.write_bytes(uri, b"two!")
    assert storage.head(uri).etag != first.etag


def test_a_prefix_is_a_folder_not_the_start_of_a_name(place: str) -> None:
    storage.write_bytes(storage.join(place, "run-1/x"), b"")
    storage.write_bytes(storage.join(place, "run-10/x"), b"")
    assert [item.uri for item in storage.list_objects(storage.join(place, "run-1"))] == [storage.join(place, "run-1/x")]


def test_of_many_writers_if_absent_exactly_one_wins(place: str) -> None:
    uri = storage.join(place, "lock")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: storage.write_bytes(uri, str(i).encode(), if_absent=True), range(8)))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == str(won.index(True)).encode()


def test_ranges_are_read_without_the_whole(place: str) -> None:
    uri = storage.join(place, "big")
    storage.write_bytes(uri, bytes(range(256)) * 1000)
    with storage.open_input(uri) as file:
        file.seek(-6, 2)
        assert file.read() == bytes(range(250, 256))
        file.seek(256)
        assert file.read(3) == bytes(range(3))


def test_folders_travel_both_ways(place: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x").write_bytes(b"x")
    (source / "y").write_bytes(b"y")
    storage.upload_folder(source, storage.join(place, "up"))
    back = storage.download_folder(storage.join(place, "up"), tmp_path / "back")
    assert (back / "deep" / "x").read_bytes() == b"x"
    assert (back / "y").read_bytes() == b"y"
    storage.delete_prefix(storage.join(place, "up"))
    with pytest.raises(MissingObject):
        storage.download_folder(storage.join(place, "up"), tmp_path / "again")


def test_a_missing_object_is_named(place: str) -> None:
    uri = storage.join(place, "nothing")
    for read in (storage.read_bytes, storage.head, storage.open_input, storage.check_readable):
        with pytest.raises(StorageError, match="nothing"):
            read(uri)
    assert not storage.exists(uri)
    storage.delete(uri)


def test_a_local_file_of_an_object_is_gone_afterwards_unless_it_was_local(place: str) -> None:
    uri = storage.join(place, "clip.mp4")
    storage.write_bytes(uri, b"frames")
    with storage.local_file(uri) as path:
        assert path.name == "clip.mp4"
        assert path.read_bytes() == b"frames"
    assert path.exists() is not storage.is_s3(place)


def test_a_place_that_is_away_is_told_from_one_that_is_empty(tmp_path: Path) -> None:
    """As a mount that doesn't answer: nothing below it can be looked at, and that says nothing of what is there."""
    kept = tmp_path / "away" / "a.bin"
    storage.write_bytes(str(kept), b"x")
    (tmp_path / "link").symlink_to("link")
    uri = str(tmp_path / "link" / "a.bin")
    for ask in (storage.read_bytes, storage.exists, storage.delete, storage.delete_prefix):
        with pytest.raises(StorageUnavailable):
            ask(uri)
    with pytest.raises(StorageUnavailable):
        list(storage.list_objects(uri))
    with pytest.raises(StorageUnavailable), storage.local_file(uri):
        pass


def test_a_list_goes_on_when_files_are_removed_meanwhile(tmp_path: Path) -> None:
    for number in range(4):
        storage.write_bytes(str(tmp_path / "a" / f"{number}.bin"), b"x")
    listed = storage.list_objects(str(tmp_path))
    first = next(listed)
    storage.delete(str(tmp_path / "a" / "2.bin"))
    assert [storage.name(item.uri) for item in (first, *listed)] == ["0.bin", "1.bin", "3.bin"]


def test_whatever_lies_at_a_prefix_goes(place: str) -> None:
    for uri in (storage.join(place, "a", "b"), storage.join(place, "c")):
        storage.write_bytes(uri, b"x")
    for prefix in ("a", "c", "nothing", "c/d"):
        storage.delete_prefix(storage.join(place, prefix))
    assert list(storage.list_objects(storage.join(place, ""))) == []


def test_a_writable_place_passes_and_is_left_empty(place: str) -> None:
    storage.create_bucket(place)
    storage.check_writable(place)
    assert list(storage.list_objects(storage.join(place, ""))) == []


def test_a_missing_bucket_is_named_with_the_remedy(s3: str) -> None:
    with pytest.raises(MissingObject, match="no such bucket; create it"):
        list(storage.list_objects("s3://no-such-bucket-here/x"))


def test_wrong_credentials_are_said_to_be_wrong(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        storage.check_writable(s3)


def test_a_server_that_does_not_answer_is_said_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageUnavailable, match="AWS_ENDPOINT_URL"):
        storage.read_bytes("s3://bucket/key")


def test_a_full_disk_is_said_to_be_full_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(objects, "_publish", full)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        storage.write_bytes(str(tmp_path / "x"), b"data")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(StorageError, match="'ftp'"):
        storage.read_bytes("ftp://host/x")


def test_a_presigned_link_reads_without_credentials(s3: str) -> None:
    from urllib.request import urlopen

    storage.write_bytes(storage.join(s3, "clip"), b"bytes")
    with urlopen(storage.presign(storage.join(s3, "clip"), 60)) as answer:
        assert answer.read() == b"bytes"
