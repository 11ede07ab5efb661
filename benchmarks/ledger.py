"""How many transitions of jobs the ledger makes in a second, as the service makes them: `python -m benchmarks.ledger`.

Processes, as API replicas and samplers are: they create jobs one by one; then claim what the scheduler would, renew
their leases with progress, and finish jobs one by one. A transition is a change of one job's state: queued, claimed,
completed. On SQLite and on PostgreSQL: a server of its own that writes every commit to the disk, where one is
installed, or ``--ledger URL``. The last column is what a transition costs the processes, whatever else the machine
does.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.video.job import NewJob, Status, new_id
from services.video.ledger import Ledger
from tests.services.postgres import PostgresServer, postgres_binaries

PARAMS = {"prompt": "a red ball moves left over grass", "negative_prompt": "", "num_frames": 33, "height": 256,
          "width": 448, "fps": 8.0, "seconds": "4", "guidance_scale": 3.0, "seed": 7, "num_inference_steps": 30,
          "num_windows": 1, "film": None, "remixed_from": None}  # fmt: skip
CLAIMED_AT_ONCE = 16
SEEN_OF_AN_OWNER = 4
RENEWALS_A_JOB = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """Jobs that went all the way in a time, and the CPU time that it took the processes."""

    jobs: int
    seconds: float
    cpu_s: float

    @property
    def transitions(self) -> int:
        return 3 * self.jobs


_ledger: Ledger


def join(url: str) -> None:
    """What a process does first."""
    global _ledger
    _ledger = Ledger.open(url)
    _ledger.roster.counts()


def measure(url: str, num_jobs: int, processes: int, threads: int) -> Measured:
    """Create ``num_jobs`` jobs from several threads of several processes, then work them off by as many."""
    share = num_jobs // processes // threads
    Ledger.open(url).close()
    with ProcessPoolExecutor(processes, get_context("spawn"), join, (url,)) as pool:
        list(pool.map(time.sleep, [0.5] * processes))  # all have started
        began = time.perf_counter()
        cpu_s = sum(pool.map(in_threads, [create_jobs] * processes, [threads] * processes, [share] * processes))
        cpu_s += sum(pool.map(in_threads, [work_off] * processes, [threads] * processes, [0] * processes))
        seconds = time.perf_counter() - began
    ledger = Ledger.open(url)
    done = ledger.roster.counts()[Status.COMPLETED]
    ledger.close()
    assert done == share * processes * threads, f"{done} of {num_jobs} jobs were completed"
    return Measured(done, seconds, cpu_s)


def in_threads(action: Callable[[str, int], None], threads: int, count: int) -> float:
    """Do something in every thread of this process; seconds of CPU."""
    began = time.process_time()
    names = [f"{os.getpid()}-{index}" for index in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(action, names, [count] * threads))
    return time.process_time() - began


def create_jobs(owner: str, count: int) -> None:
    """Accept so many jobs."""
    for _ in range(count):
        now = time.time()
        shape = {"tokens": 4000, "num_steps": 30, "priority": 0, "queued_as": now}
        _ledger.create([NewJob(id=new_id(now), owner=owner, model="m", params=PARAMS, **shape)])


def work_off(worker: str, _count: int) -> None:
    """Claim and finish until nothing is left."""
    while waiting := _ledger.waiting("m", limit_per_owner=SEEN_OF_AN_OWNER):
        won = _ledger.claim([job.id for job in waiting], worker, 30.0, most=CLAIMED_AT_ONCE)
        for percent in range(RENEWALS_A_JOB):
            _ledger.renew({job.lease: 30 * percent for job in won}, 30.0)
        for job in won:
            assert _ledger.finish(job.lease, {"video": {"uri": f"s3://b/{job.id}.mp4", "bytes": 1}})


@contextmanager
def databases(given: str | None) -> Iterator[dict[str, str]]:
    """URLs of empty ledgers by the name of their database."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="sora-bench-", ignore_cleanup_errors=True))
        )
        urls = {"SQLite": f"sqlite:///{folder}/ledger.db"}
        binaries = postgres_binaries()
        if given:
            urls["given"] = given
        elif binaries:
            server = PostgresServer(binaries, folder, durable=True)
            server.start()
            stack.callback(server.stop)
            urls["PostgreSQL"] = server.url
        yield urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8, help="of each process")
    parser.add_argument("--ledger", help="URL of an empty PostgreSQL database")
    given = parser.parse_args()
    with databases(given.ledger) as urls:
        print("| database | jobs | seconds | transitions/s | CPU ms a transition |\n|---|---|---|---|---|")
        for name, url in urls.items():
            seen = measure(url, given.jobs, given.processes, given.threads)
            numbers = f"{seen.transitions / seen.seconds:.0f} | {1000 * seen.cpu_s / seen.transitions:.2f}"
            print(f"| {name} | {seen.jobs} | {seen.seconds:.1f} | {numbers} |", flush=True)
    print("load of the machine:", *(f"{number:.1f}" for number in os.getloadavg()))


if __name__ == "__main__":
    main()
