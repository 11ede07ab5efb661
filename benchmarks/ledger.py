"""How many transitions of jobs the ledger makes in a second, as the service makes them: `python -m benchmarks.ledger`.

API threads create jobs one by one; workers claim what the scheduler would, renew their leases with progress, and
finish jobs one by one. A transition is a change of one job's state: queued, claimed, completed. On PostgreSQL (a server
of its own that writes every commit to the disk, where one is installed; else ``--ledger URL``) and on SQLite.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.video.job import NewJob, Status, new_id
from services.video.ledger import Ledger
from tests.services.postgres import PostgresServer, postgres_binaries

PARAMS = {"prompt": "a red ball moves left over grass", "negative_prompt": "", "num_frames": 33, "height": 256,
          "width": 448, "fps": 8.0, "seconds": "4", "guidance_scale": 3.0, "seed": 7, "input": None}  # fmt: skip
CLAIMED_AT_ONCE = 16
RENEWALS_A_JOB = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """Jobs that went all the way in a time."""

    jobs: int
    seconds: float
    renewals: int

    @property
    def transitions_per_s(self) -> float:
        return 3 * self.jobs / self.seconds


def measure(url: str, num_jobs: int, threads: int) -> Measured:
    """Create ``num_jobs`` jobs from several threads, then work them off by as many workers."""
    ledger = Ledger.open(url)
    renewals = [0] * threads
    began = time.perf_counter()
    in_parallel(threads, lambda index: create(ledger, num_jobs // threads, f"owner-{index % 4}"))
    in_parallel(threads, lambda index: renewals.__setitem__(index, work_off(ledger, f"worker-{index}")))
    seconds = time.perf_counter() - began
    done = ledger.counts()[Status.COMPLETED]
    assert done == num_jobs // threads * threads, f"{done} of {num_jobs} jobs were completed"
    ledger.close()
    return Measured(done, seconds, sum(renewals))


def in_parallel(count: int, action: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=action, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def create(ledger: Ledger, count: int, owner: str) -> None:
    for _ in range(count):
        now = time.time()
        shape = {"tokens": 4000, "num_steps": 30, "priority": 0, "queued_as": now}
        ledger.create([NewJob(id=new_id(now), owner=owner, model="m", params=PARAMS, **shape)])


def work_off(ledger: Ledger, worker: str) -> int:
    """Claim and finish until nothing is left; how many leases were renewed."""
    renewed = 0
    while waiting := ledger.waiting("m"):
        won = ledger.claim([job.id for job in waiting[:CLAIMED_AT_ONCE]], worker, 30.0)
        for percent in range(RENEWALS_A_JOB):
            ledger.renew({job.lease: 30 * percent for job in won}, 30.0)
            renewed += len(won)
        for job in won:
            assert ledger.finish(job.lease, {"video": {"uri": f"s3://b/{job.id}.mp4", "bytes": 1}})
    return renewed


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
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--ledger", help="URL of an empty PostgreSQL database")
    given = parser.parse_args()
    with databases(given.ledger) as urls:
        print("| database | jobs | seconds | transitions/s | renewals/s |\n|---|---|---|---|---|")
        for name, url in urls.items():
            seen = measure(url, given.jobs, given.threads)
            rates = f"{seen.transitions_per_s:.0f} | {seen.renewals / seen.seconds:.0f}"
            print(f"| {name} | {seen.jobs} | {seen.seconds:.1f} | {rates} |")


if __name__ == "__main__":
    main()
