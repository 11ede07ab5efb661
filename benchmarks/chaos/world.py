"""What the chaos run and the soak run in: a database, a storage, and the processes of a service."""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.chaos.processes import Fleet
from services.video.config import ServiceConfig, hash_key
from services.video.job import Status
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable
from sora_core.edits.spec import LEARNED_FROM
from tests.services.postgres import PostgresServer, free_port, postgres_binaries
from tests.services.tiny_model import save_tiny_checkpoint

KEY = "sk-chaos"
_FIRST_START_S = 600.0
_LONGEST_BREATH = 10


class World:
    """The database, the storage, and what befalls them and the processes."""

    def __init__(self, folder: Path, database: PostgresServer, lost_share: float, dice: random.Random) -> None:
        """``lost_share`` of the ledger's answers get lost; everything lies in the ``folder``."""
        self.folder, self.database, self._dice = folder, database, dice
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        (folder / "data").mkdir()
        self._output = folder / "out"
        self._output.symlink_to("data")
        given = tuple(sorted(frozenset[str]().union(*LEARNED_FROM.values())))
        self.config = _config(folder, save_tiny_checkpoint(str(folder / "run"), given=given), database.url)
        self.ledger = Ledger.open(self.config.ledger)
        ports = (free_port(), free_port())
        roles = [("sampler", 0), ("sampler", 0), ("decoder", 0), ("decoder", 0), *(("api", port) for port in ports)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.fleet = Fleet(self.config, roles, lost_share, str(self.scratch))
        self.befell: Counter[str] = Counter()

    def wait_until_it_answers(self) -> None:
        """Until every process of the first start does its part: from then on faults tell something."""
        give_up = time.monotonic() + _FIRST_START_S
        while not all(_lists_a_model(url) for url in self.urls):
            if time.monotonic() > give_up:
                sys.exit(f"nothing answers at {', '.join(self.urls)}")
            time.sleep(0.5)

    def open_jobs(self) -> int:
        """Accepted jobs that have not ended."""
        counts = self._counts()
        return counts[Status.QUEUED] + counts[Status.IN_PROGRESS]

    def ended(self) -> int:
        """Jobs that have ended, but for those that were deleted."""
        counts = self._counts()
        return counts[Status.COMPLETED] + counts[Status.FAILED]

    def _counts(self) -> dict[Status, int]:
        """Asked again where an outage has broken the connection."""
        while True:
            try:
                return self.ledger.roster.counts()
            except LedgerUnavailable:
                time.sleep(0.2)

    def breathe(self, seconds: float) -> None:
        """Return after so long, and not before a job has ended since; on a slow machine after ten times as long."""
        ended, give_up = self.ended(), time.monotonic() + _LONGEST_BREATH * seconds
        time.sleep(seconds)
        while self.ended() == ended and time.monotonic() < give_up:
            time.sleep(0.2)

    def work_off(self) -> None:
        """Return when every accepted job has ended; no fault befalls anything meanwhile."""
        while self.open_jobs():
            self.befell[_REVIVED] += self.fleet.revive()
            time.sleep(0.5)

    def strike(self) -> None:
        """One thing goes wrong."""
        what: list[Callable[[], None]] = [self._kill, self._kill, self._database_away, self._storage_away]
        self._dice.choice(what)()
        self.befell[_REVIVED] += self.fleet.revive()

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


_REVIVED = "ended by itself, started again"


@contextmanager
def opened(name: str, lost_share: float = 0.0, seed: int = 0) -> Iterator[World]:
    """A world that answers; at the end its processes and its folder are gone."""
    binaries = postgres_binaries()
    if binaries is None:
        sys.exit("PostgreSQL's server is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "pg").mkdir()
        database = PostgresServer(binaries, folder / "pg")
        database.start()
        try:
            world = World(folder, database, lost_share, random.Random(seed))
            try:
                world.wait_until_it_answers()
                yield world
            finally:
                world.fleet.stop()
        finally:
            database.stop()


def _lists_a_model(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {KEY}"}, timeout=5.0)
        return bool(answer.status_code == 200 and answer.json()["data"])
    except httpx.HTTPError:
        return False


def _config(folder: Path, run: str, database: str) -> ServiceConfig:
    sampler = {"lease_s": 8.0, "idle_poll_s": 0.1, "outage_patience_s": 30.0, "save_every_s": 1.0, "max_attempts": 50}
    limits = {"max_waiting": 100_000}
    api = {"keys": {"chaos": hash_key(KEY)}, "max_waiting": 100_000, "limits": limits}
    images = {"image_wait_s": 3000.0, "image_lifetime_s": 1e6}  # what has ended is counted at the end
    places = {"checkpoint": run, "output": str(folder / "out"), "ledger": database}
    sweeps = {"sweep_every_s": 15.0, "sweep_after_s": 300.0}
    judges = {"image_model": ""}  # what a model without training makes may look like anything
    decoder = {"replicas": 1, "tile": 128}
    return ServiceConfig.model_validate(
        {**places, **sweeps, "api": api | images, "sampler": sampler, "decoder": decoder, "moderation": judges}
    )
