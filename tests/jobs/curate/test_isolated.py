"""An input that kills the decoder's process is a row with a reason, and nothing else notices."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.curate.isolated import Isolated, ProcessDied
from sora_core.errors import UnreadableMedia
from sora_core.media import probe


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    process = Isolated()
    yield process
    process.close()


def test_results_and_errors_come_back_as_they_are(isolated: Isolated, tmp_path: Path) -> None:
    assert isolated.call(max, 3, 5) == 5
    assert isolated.call(os.getpid) != os.getpid()
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(UnreadableMedia, match=r"broken\.mp4") as found:
        isolated.call(probe, tmp_path / "broken.mp4")
    assert found.value.reason == "unreadable_container"


def test_a_crash_is_told_and_the_next_call_finds_a_new_process(isolated: Isolated) -> None:
    first = isolated.call(os.getpid)
    with pytest.raises(ProcessDied) as found:
        isolated.call(os.kill, first, signal.SIGSEGV)
    assert found.value.status == -signal.SIGSEGV
    assert isolated.call(os.getpid) != first


def crash_the_first_time(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "well"


def test_what_crashed_is_tried_once_more_alone(isolated: Isolated, tmp_path: Path) -> None:
    assert isolated.call_twice(crash_the_first_time, tmp_path / "mark") == "well"
    with pytest.raises(ProcessDied):
        isolated.call_twice(os._exit, 3)


def test_the_process_ends_with_its_owner() -> None:
    process = Isolated()
    pid = process.call(os.getpid)
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
