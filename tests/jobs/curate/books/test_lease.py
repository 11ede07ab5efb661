"""An output has one writer: the first of many, until it is done or dead."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from jobs.curate.books import lease
from jobs.curate.books.lease import Holder, Lease, LeaseLost, acquire, held
from sora_core import storage
from sora_core.errors import ConfigError

ROOT = Path(__file__).parents[4]
HOLD = """
import sys, time
from jobs.curate.books.lease import held
with held(sys.argv[1], renew_s=0.1):
    print("held", flush=True)
    time.sleep(60)
"""


def race(output: str, writers: int) -> Counter[str]:
    """What becomes of so many runs that start together, each of which works until one was turned away."""
    outcomes: Counter[str] = Counter()
    inside, together, refused = [], threading.Barrier(writers), threading.Event()

    def write() -> None:
        together.wait()
        try:
            with held(output, renew_s=0.05, dead_after_s=60.0):
                inside.append(threading.get_ident())
                assert len(inside) == 1, "two writers at once"
                assert refused.wait(60)
                inside.remove(threading.get_ident())
                outcomes["wrote"] += 1
        except ConfigError:
            outcomes["refused"] += 1
            refused.set()

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.slow
def test_of_many_writers_at_once_one_writes(s3: str) -> None:
    outcomes = race(s3, 8)
    assert outcomes["wrote"] >= 1
    assert outcomes["refused"] >= 1
    assert outcomes.total() == 8
    with held(s3):
        """It was given back."""


def test_of_many_writers_at_once_one_writes_to_a_folder(tmp_path: Path) -> None:
    outcomes = race(str(tmp_path), 4)
    assert outcomes["wrote"] >= 1
    assert outcomes.total() == 4


def test_a_lease_that_another_numbering_overlaps_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first number is created anew while somebody takes over from the one that had it: one of both gives way."""
    output = str(tmp_path)
    uri = str(tmp_path / "writer" / "000000.json")
    storage.write_bytes(uri, b'{"host": "elsewhere", "pid": 1, "since": "long ago"}')
    newcomer = Holder("elsewhere", 2, "now", token="another")
    seen: list[int] = []

    def overtaken(place: str, number: int, dead_after_s: float) -> Holder | None:
        found = dead_holder(place, number, 0.0)
        if not seen:
            storage.write_bytes(uri, lease._bytes(newcomer))
        seen.append(number)
        return found

    dead_holder = lease._dead_holder
    monkeypatch.setattr(lease, "_dead_holder", overtaken)
    acquire(output).release()
    assert seen == [0, 0], "it looked again"


def test_a_killed_holders_lease_is_taken_over_and_a_living_ones_is_not(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=rf"process {holder.pid} on .*wait for it, or end it"):
        acquire(str(tmp_path), dead_after_s=20)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    acquire(str(tmp_path), dead_after_s=1000).release()


def test_a_holder_on_another_machine_is_dead_when_it_is_silent(tmp_path: Path) -> None:
    """And when it wakes up again, it finds that it has lost."""
    said = b'{"host": "elsewhere", "pid": 1, "since": "long ago"}'
    storage.write_bytes(str(tmp_path / "writer" / "000000.json"), said)
    asleep = Lease(str(tmp_path), 0, Holder("elsewhere", 1, "long ago"))
    started = time.monotonic()
    awake = acquire(str(tmp_path), dead_after_s=0.3)
    assert time.monotonic() - started >= 0.3
    awake.check()
    with pytest.raises(LeaseLost, match="nothing was removed"):
        asleep.renew()
    with pytest.raises(LeaseLost):
        asleep.check()
    awake.release()
    assert list((tmp_path / "writer").iterdir()) == []
