"""What is lost, doubled, wrong or left over when everything fails: 1,000 jobs, about half an hour on two free cores.

`python -m benchmarks.chaos.chaos [--jobs 1000] [--every 3]`: PostgreSQL, two samplers, two decoders, two API replicas,
jobs of every kind by clients that try again under their keys; every few seconds a random SIGKILL, or an outage of
the database or of the storage, and all the while some of the ledger's answers get lost after it has done what it was
asked. Then the faults end, the rest is worked off, the sweeper comes by, and everything is counted.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.chaos.people import Asked, Book, Person, kinds
from benchmarks.chaos.processes import Fleet
from services.video.config import ServiceConfig, hash_key
from services.video.housekeeping import remove_deleted, tidy
from services.video.job import CANCELLED, Job, Status
from services.video.ledger import Ledger
from services.video.ledger.tables import jobs
from services.video.stored import below, results_of
from services.video.sweeper import Sweeper
from sora_core import media, storage
from sora_core.edits.spec import LEARNED_FROM
from tests.services.postgres import PostgresServer, free_port, postgres_binaries
from tests.services.tiny_model import save_tiny_checkpoint

KEY = "sk-chaos"
MOST_AWAY = 6.0  # mean of absolute differences of 255 levels: batches round differently, and H.264 makes more of it


class World:
    """The database, the storage, and what befalls them and the processes."""

    def __init__(self, folder: Path, lost_share: float, dice: random.Random) -> None:
        binaries = postgres_binaries()
        if binaries is None:
            sys.exit("PostgreSQL's server is not installed: apt-get install postgresql")
        self._dice = dice
        (folder / "pg").mkdir()
        self.database = PostgresServer(binaries, folder / "pg")
        self.database.start()
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        (folder / "data").mkdir()
        self._output = folder / "out"
        self._output.symlink_to("data")
        given = tuple(sorted(frozenset[str]().union(*LEARNED_FROM.values())))
        self.config = _config(folder, save_tiny_checkpoint(str(folder / "run"), given=given), self.database.url)
        ports = (free_port(), free_port())
        roles = [("sampler", 0), ("sampler", 0), ("decoder", 0), ("decoder", 0), *(("api", port) for port in ports)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.fleet = Fleet(self.config, roles, lost_share, str(self.scratch))
        self.befell: Counter[str] = Counter()

    def strike(self) -> None:
        """One thing goes wrong."""
        what: list[Callable[[], None]] = [self._kill, self._kill, self._database_away, self._storage_away]
        self._dice.choice(what)()
        self.befell["ended by itself, started again"] += self.fleet.revive()

    def _kill(self) -> None:
        number = self._dice.randrange(len(self.fleet.running))
        self.fleet.kill(number)
        self.befell[f"SIGKILL of a {self.fleet.roles[number][0]}"] += 1

    def _database_away(self) -> None:
        self.database.stop()
        time.sleep(self._dice.uniform(0.0, 2.0))
        self.database.start()
        self.befell["outage of the database"] += 1

    def _storage_away(self) -> None:
        """Nothing can be read or written below a link to itself."""
        self._point_to("out")
        time.sleep(self._dice.uniform(0.2, 2.0))
        self._point_to("data")
        self.befell["outage of the storage"] += 1

    def _point_to(self, target: str) -> None:
        link = self._output.with_name("link")
        link.symlink_to(target)
        link.replace(self._output)


def _config(folder: Path, run: str, database: str) -> ServiceConfig:
    sampler = {"lease_s": 8.0, "idle_poll_s": 0.1, "outage_patience_s": 30.0, "save_every_s": 1.0, "max_attempts": 50}
    limits = {"max_waiting": 100_000}
    api = {"keys": {"chaos": hash_key(KEY)}, "max_waiting": 100_000, "limits": limits, "image_wait_s": 3000.0}
    places = {"checkpoint": run, "output": str(folder / "out"), "ledger": database}
    sweeps = {"sweep_every_s": 15.0, "sweep_after_s": 60.0}
    return ServiceConfig.model_validate(
        {**places, **sweeps, "api": api, "sampler": sampler, "decoder": {"replicas": 1, "tile": 128}}
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="requests, one job each as a rule")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two faults")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--lost", type=float, default=0.01, help="share of the ledger's answers that get lost")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        world = World(Path(folder), options.lost, random.Random(options.seed))
        try:
            return _run(world, Path(folder), options)
        finally:
            world.fleet.stop()
            world.database.stop()


def _run(world: World, folder: Path, options: argparse.Namespace) -> int:
    began, book = time.monotonic(), Book()
    what = kinds(folder)
    share = -(-options.jobs // options.people)
    people = [Person(world.urls, KEY, share, what, book, seed) for seed in range(options.people)]
    for person in people:
        person.start()
    time.sleep(5.0)
    ledger = Ledger.open(world.config.ledger)
    while any(person.is_alive() for person in people):
        world.strike()
        time.sleep(options.every)
    while _open_jobs(ledger):
        world.fleet.revive()
        time.sleep(0.5)
    found = _count(world, ledger, book)
    took_s = time.monotonic() - began
    print(f"{len(book.asked)} requests, {sum(len(one.ids) for one in book.asked)} jobs in {took_s:.0f} s")
    print(f"tried again by clients: {book.refused}; " + ", ".join(f"{n} x {what}" for what, n in world.befell.items()))
    print("\n".join(book.odd))
    for name, count in found.items():
        print(f"{name:<10} {count}")
    return 1 if any(found.values()) else 0


def _open_jobs(ledger: Ledger) -> int:
    counts = ledger.roster.counts()
    return counts[Status.QUEUED] + counts[Status.IN_PROGRESS]


def _count(world: World, ledger: Ledger, book: Book) -> dict[str, int]:
    with ledger.engine.connect() as db:
        ids = list(db.execute(sa.select(jobs.c.id)).scalars())
    rows = {job.id: job for job in ledger.rows(ids)}
    accepted = {job_id for one in book.asked for job_id in one.ids}
    lost = [one for asked in book.asked for one in asked.ids if not _is_there(rows.get(one), asked)]
    for job_id in lost:
        job = rows.get(job_id)
        print(f"lost: {job_id} {job and (job.status, job.error_code, job.error_message)}")
    wrong = _wrong(rows, book)
    world.fleet.stop()
    return {
        "lost": len(lost),
        "doubled": len(rows.keys() - accepted),
        "wrong": len(wrong),
        "orphans": _orphans(world, ledger, rows),
        "odd": len(book.odd),
    }


def _is_there(job: Job | None, asked: Asked) -> bool:
    if asked.ended_by_client and (job is None or job.error_code == CANCELLED):
        return True
    return job is not None and job.status is Status.COMPLETED


def _wrong(rows: dict[str, Job], book: Book) -> list[str]:
    """Results of another shape than asked for, or unlike the others of the same request."""
    first: dict[tuple[str, int], Any] = {}
    wrong = []
    for asked in book.asked:
        for index, job_id in enumerate(asked.ids):
            job = rows.get(job_id)
            if job is None or job.result is None:
                continue
            params = job.params
            frames = _frames(job)
            like = first.setdefault((asked.kind, index), frames)
            shape = (params["num_frames"], params["height"], params["width"], 3)
            away = np.abs(frames.astype(int) - like).mean() if frames.shape == like.shape else 255.0
            if frames.shape != shape or away > MOST_AWAY:
                wrong.append(job_id)
                print(f"wrong: {job_id} ({asked.kind}) {frames.shape} for {shape}, {away:.1f} away")
    return wrong


def _frames(job: Job) -> np.ndarray:
    assert job.result is not None
    if "image" in job.result:
        return media.decode_image(storage.read_bytes(job.result["image"]["uri"]))[None]
    return media.decode_clip(job.result["video"]["uri"])


def _orphans(world: World, ledger: Ledger, rows: dict[str, Job]) -> int:
    """Files that belong to nothing, once everything was tidied and swept."""
    config = world.config.model_copy(update={"sweep_after_s": 1e-3})
    remove_deleted(ledger, config.output)
    for job in ledger.littered(100_000):
        tidy(ledger, config.output, job.id)
    Sweeper(config, ledger).sweep()
    left = {job.id: job for job in ledger.rows(list(rows))}
    results = {uri for job in left.values() for uri in results_of(job)}
    over = [uri for uri in below(config.output) if uri not in results]
    tempfile.tempdir = str(world.scratch)
    storage.sweep_scratch()
    folders = [path.name for path in world.scratch.iterdir() if path.name.startswith("sora-")]
    for one in (*over, *folders):
        print(f"orphan: {one}")
    return len(over) + len(folders)


if __name__ == "__main__":
    sys.exit(main())
