"""Whether memory, open files and database connections stay as they are while many jobs pass.

`python -m benchmarks.chaos.soak [--jobs 2000]`, about an hour on two free cores: the processes and the requests of the
chaos run, and nothing goes wrong. What each process holds is read at every tenth of the jobs.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from benchmarks.chaos.chaos import KEY, World
from benchmarks.chaos.people import Book, Person, kinds
from services.video.job import Status
from services.video.ledger import Ledger

_PARTS = 10
_MOST_GROWTH = 1.05  # of memory, from the middle to the end
_MOST_MORE = 3  # files


@dataclass(frozen=True, slots=True)
class Held:
    """Of one process: resident memory in MiB, and open files, sockets among them."""

    memory_mib: float
    files: int

    @classmethod
    def by(cls, pid: int) -> "Held":
        place = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        return cls(int(status["VmRSS"].split()[0]) / 1024, len(list((place / "fd").iterdir())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="requests, one job each as a rule")
    parser.add_argument("--people", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        world = World(Path(folder), 0.0, random.Random(0))
        try:
            return _run(world, Path(folder), options)
        finally:
            world.fleet.stop()
            world.database.stop()


def _run(world: World, folder: Path, options: argparse.Namespace) -> int:
    book, ledger = Book(), Ledger.open(world.config.ledger)
    what, share = kinds(folder), -(-options.jobs // options.people)
    people = [Person(world.urls, KEY, share, what, book, seed) for seed in range(options.people)]
    for person in people:
        person.start()
    total, samples = share * options.people, list[tuple[int, int, list[Held]]]()
    while len(samples) < _PARTS:
        ended = _ended(ledger)
        if ended >= total * (len(samples) + 1) / _PARTS:
            held = [Held.by(process.pid or 0) for process in world.fleet.running]
            samples.append((ended, _connections(ledger), held))
            row = "  ".join(f"{one.memory_mib:6.0f} MiB {one.files:3d} files" for one in held)
            print(f"{ended:6d} jobs  {samples[-1][1]:3d} connections  {row}", flush=True)
        time.sleep(0.5)
    print("of " + ", ".join(role for role, _ in world.fleet.roles))
    return 1 if _has_grown(samples) else 0


def _ended(ledger: Ledger) -> int:
    counts = ledger.roster.counts()
    return counts[Status.COMPLETED] + counts[Status.FAILED]


def _connections(ledger: Ledger) -> int:
    with ledger.engine.connect() as db:
        count: int = db.execute(sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")).scalar_one()
    return count


def _has_grown(samples: list[tuple[int, int, list[Held]]]) -> bool:
    (_, connections, middle), (_, connections_at_end, end) = samples[len(samples) // 2], samples[-1]
    pairs = list(zip(middle, end, strict=True))
    return (
        connections_at_end > connections + _MOST_MORE
        or any(after.memory_mib > _MOST_GROWTH * before.memory_mib for before, after in pairs)
        or any(after.files > before.files + _MOST_MORE for before, after in pairs)
    )


if __name__ == "__main__":
    sys.exit(main())
