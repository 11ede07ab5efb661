import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobs.demo.processes import CLUSTERS, ProcessBook
from jobs.demo.s3 import EmbeddedS3
from sora_core import storage
from sora_core.errors import ConfigError

FAMILY = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "


def start_family() -> subprocess.Popen[bytes]:
    """A process with a child, in a group of its own."""
    return subprocess.Popen([sys.executable, "-c", FAMILY + "time.sleep(60)"], start_new_session=True)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_book_of_a_killed_demo_ends_every_process_it_names(tmp_path: Path) -> None:
    family = start_family()
    ProcessBook(tmp_path / "book").add(family.pid)
    reader = ProcessBook(tmp_path / "book")
    # Reap as init would: the parent of a killed demo's servers is not us.
    threading.Thread(target=family.wait, daemon=True).start()
    assert reader.end_all() == 1
    assert not group_lives(family.pid)
    assert reader.end_all() == 0


def test_workers_of_its_cluster_end_with_it_and_those_of_another_stay(tmp_path: Path) -> None:
    """Workers of Ray have groups of their own, and outlive a head that was killed for a while."""
    ours, other = f"{CLUSTERS}{os.getpid()}-test", str(tmp_path / "ray")
    folders = (ours, ours, other, other)
    head, worker, s3, foreign = (
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            start_new_session=True, env=os.environ | {"RAY_TMPDIR": folder},
        )
        for folder in folders
    )  # fmt: skip
    book = ProcessBook(tmp_path / "book")
    for server in (head, s3):  # this one has the variable from the user's shell
        threading.Thread(target=server.wait, daemon=True).start()
        book.add(server.pid)
    assert book.end_all() == 2
    assert worker.wait(20) == -signal.SIGKILL
    assert foreign.poll() is None
    foreign.kill()
    foreign.wait()


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(tmp_path: Path) -> None:
    family = start_family()
    (tmp_path / "book").write_text(f'[[{family.pid}, "12345"]]')
    assert ProcessBook(tmp_path / "book").end_all() == 0
    assert group_lives(family.pid)
    os.killpg(family.pid, 9)
    family.wait()


@pytest.mark.slow
def test_objects_survive_a_kill_of_the_server_and_the_same_keys_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedS3(tmp_path) as first:
        for name, value in first.credentials.environment().items():
            monkeypatch.setenv(name, value)
        storage.create_bucket("s3://kept")
        storage.write_bytes("s3://kept/x", b"still here")
        os.killpg(first.pid, 9)
    with EmbeddedS3(tmp_path) as second:
        monkeypatch.setenv("AWS_ENDPOINT_URL", second.credentials.endpoint)
        assert storage.read_bytes("s3://kept/x") == b"still here"


@pytest.mark.slow
def test_keys_in_the_environment_never_become_keys_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sora")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-another-server")
    with EmbeddedS3(tmp_path) as server:
        for name, value in server.credentials.environment().items():
            monkeypatch.setenv(name, value)
        storage.create_bucket("s3://mine")


@pytest.mark.slow
def test_a_taken_s3_port_is_named(tmp_path: Path) -> None:
    with EmbeddedS3(tmp_path) as running, pytest.raises(ConfigError, match=f"port {running.port} is taken"):
        EmbeddedS3(tmp_path / "other", port=running.port)
