"""Whether memory, open files and database connections stay as they are while many jobs pass.

`python -m benchmarks.chaos.soak [--jobs 2000]`, about an hour on two free cores: the processes and the requests of the
chaos run, and nothing goes wrong. What each process holds is read at every tenth of the jobs.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from benchmarks.chaos.people import Book, people_of
from benchmarks.chaos.world import KEY, World, opened

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


@dataclass(frozen=True, slots=True)
class Sample:
    """What everything held when so many jobs had ended."""

    ended: int
    connections: int
    held: list[Held]

    @classmethod
    def of(cls, world: World) -> "Sample":
        held = [Held.by(process.pid or 0) for process in world.fleet.running]
        return cls(world.ended(), _connections(world), held)

    def tell(self) -> None:
        row = "  ".join(f"{one.memory_mib:6.0f} MiB {one.files:3d} files" for one in self.held)
        print(f"{self.ended:6d} jobs  {self.connections:3d} connections  {row}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="requests, one job each as a rule")
    parser.add_argument("--people", type=int, default=4)
    options = parser.parse_args()
    with opened("soak") as world:
        return _run(world, options)


def _run(world: World, options: argparse.Namespace) -> int:
    began, book, samples = time.monotonic(), Book(), list[Sample]()
    people = people_of(world.folder, world.urls, KEY, options.jobs, options.people, book)
    for person in people:
        person.start()
    print("of " + ", ".join(role for role, _ in world.fleet.roles))
    while any(person.is_alive() for person in people) or world.open_jobs():
        if world.ended() >= options.jobs * (len(samples) + 1) / _PARTS:
            samples.append(Sample.of(world))
            samples[-1].tell()
        if world.fleet.revive():
            print("a process has ended by itself")
            return 1
        time.sleep(0.5)
    samples.append(Sample.of(world))
    samples[-1].tell()
    print(f"{len(book.asked)} requests in {time.monotonic() - began:.0f} s; odd answers: {book.odd}")
    return 1 if book.odd or _has_grown(samples) else 0


def _connections(world: World) -> int:
    query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")
    with world.ledger.engine.connect() as db:
        count: int = db.execute(query).scalar_one()
    return count


def _has_grown(samples: list[Sample]) -> bool:
    middle, end = samples[len(samples) // 2], samples[-1]
    pairs = list(zip(middle.held, end.held, strict=True))
    return (
        end.connections > middle.connections + _MOST_MORE
        or any(after.memory_mib > _MOST_GROWTH * before.memory_mib for before, after in pairs)
        or any(after.files > before.files + _MOST_MORE for before, after in pairs)
    )


if __name__ == "__main__":
    sys.exit(main())
