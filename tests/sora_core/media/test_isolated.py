"""A file that kills, hangs or takes over its decoder's process is an error with a reason, and nothing else notices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sora_core.errors import UnreadableMedia
from sora_core.media import probe
from sora_core.media.isolated import DecoderKilled, Isolated, Limits, ProcessDied
from sora_core.media.lent import NOBODY, lent

SMALL = Limits(memory_bytes=1 << 30, cpu_s=1, deadline_s=30)


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    process = Isolated(SMALL)
    yield process
    process.close()


def test_results_and_errors_come_back_as_they_are(isolated: Isolated, tmp_path: Path) -> None:
    assert isolated.call(max, 3, 5) == 5
    assert isolated.call(os.getpid) != os.getpid()
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with (
        isolated.lent(tmp_path / "broken.mp4") as path,
        pytest.raises(UnreadableMedia, match=r"broken\.mp4") as found,
    ):
        isolated.call(probe, path)
    assert found.value.reason == "unreadable_container"
    with pytest.raises(ZeroDivisionError):
        isolated.call(divmod, 1, 0)


def grown(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, array + 1])


def test_arrays_come_back_writable_and_whole(isolated: Isolated) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    back = isolated.call(grown, array)
    assert back.tolist() == [[0, 1, 2], [3, 4, 5], [1, 2, 3], [4, 5, 6]]
    back += 1
    assert isolated.call(grown, array[:0]).shape == (0, 3)


def count() -> Iterator[int]:
    yield from range(1 << 20)


def test_items_come_one_by_one_and_an_early_end_leaves_nothing_behind(isolated: Isolated) -> None:
    assert list(isolated.each(reversed, [1, 2, 3])) == [3, 2, 1]
    for first in isolated.each(count):
        assert first == 0
        break
    assert isolated.call(max, 1, 2) == 2


def environment() -> bytes:
    return Path("/proc/self/environ").read_bytes()


def test_nothing_of_the_owners_environment_is_in_it(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    process = Isolated(SMALL)
    started_with = process.call(environment).rstrip(b"\0").split(b"\0")
    assert {item.split(b"=")[0] for item in started_with} == {b"PYTHONPATH", b"OMP_NUM_THREADS"}
    process.close()


def test_a_crash_is_told_and_the_next_call_finds_a_new_process(isolated: Isolated) -> None:
    first = isolated.call(os.getpid)
    with pytest.raises(ProcessDied) as found:
        isolated.call(os.kill, first, signal.SIGSEGV)
    assert found.value.status == -signal.SIGSEGV
    assert found.value.reason == "decoder_crashed"
    assert isolated.call(os.getpid) != first


def crash_the_first_time(mark: str, number: int) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), number)
    return "well"


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
def test_what_crashed_is_tried_once_more_alone(isolated: Isolated, tmp_path: Path, number: int) -> None:
    # Where nobody may write, too.
    mark = f"/dev/shm/{tmp_path.name}-{os.getpid()}-{number}"
    try:
        assert isolated.call_twice(crash_the_first_time, mark, number) == "well"
    finally:
        Path(mark).unlink(missing_ok=True)


def test_what_crashes_twice_is_a_verdict(isolated: Isolated) -> None:
    with pytest.raises(ProcessDied) as found:
        isolated.call_twice(os._exit, 3)
    assert found.value.status == 3


def test_killed_again_and_again_from_outside_is_no_verdict(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sora_core.media.isolated._PAUSES_S", (0.0,))
    with pytest.raises(DecoderKilled):
        isolated.call(signal.raise_signal, signal.SIGKILL)


def burn() -> None:
    while True:
        pass


def test_a_call_has_a_limit_of_cpu_seconds_memory_and_time(isolated: Isolated) -> None:
    with pytest.raises(ProcessDied) as found:
        isolated.call(burn)
    assert found.value.reason == "cpu_limit"
    with pytest.raises(UnreadableMedia, match="memory") as full:
        isolated.call(bytes, 2 << 30)
    assert full.value.reason == "memory_limit"
    hasty = Isolated(Limits(deadline_s=0.1))
    started = time.monotonic()
    with pytest.raises(ProcessDied) as late:
        hasty.call(time.sleep, 60)
    assert late.value.reason == "decoder_deadline"
    assert time.monotonic() - started < 30
    hasty.close()


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


class Spawning:
    def __reduce__(self) -> tuple[object, ...]:
        return Isolated, ()


@pytest.mark.parametrize("kind", [Hostile, Spawning])
def test_only_plain_data_comes_out(isolated: Isolated, kind: type) -> None:
    with pytest.raises(ProcessDied, match="no plain data") as found:
        isolated.call(kind)
    assert found.value.reason == "decoder_crashed"
    assert isolated.call(max, 1, 2) == 2


def test_the_process_ends_with_its_owner() -> None:
    process = Isolated()
    pid = process.call(os.getpid)
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_root_becomes_nobody_where_that_one_can_read_the_code() -> None:
    ask = "import os; from sora_core.media.decoder_process import become_nobody as become; {}; print(*os.getresuid())"
    for places, user in (("['/usr']", NOBODY), ("['/usr', '/proc/1/fd']", 0)):
        said = subprocess.check_output([sys.executable, "-c", ask.format(f"become({places})")], text=True)
        assert set(map(int, said.split())) == {user if os.geteuid() == 0 else os.geteuid()}


def test_a_file_that_is_its_owners_alone_is_lent_as_a_copy_and_others_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sora_core.media.lent.NOBODY", NOBODY if os.geteuid() == 0 else os.geteuid())
    (tmp_path / "film.mp4").write_bytes(b"pixels")
    (tmp_path / "film.mp4").chmod(0o040)
    with lent(tmp_path / "film.mp4") as path:
        assert path != tmp_path / "film.mp4"
        assert path.read_bytes() == b"pixels"
    assert not path.exists()
    with lent(Path("/etc/passwd")) as path:
        assert path == Path("/etc/passwd")
