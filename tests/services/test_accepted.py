"""Nothing accepted is lost: whatever answer gets lost, whichever process dies between two of its writes."""

import math
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.video.files import attempt_folder, character_file, clip_file
from services.video.housekeeping import Housekeeper, remove, tidy
from services.video.job import Job, Stage, Status, born_at, new_id
from services.video.ledger import Ledger
from services.video.stored import below
from services.video.workers import latents, patience
from services.video.workers.decoder import Decoder
from services.video.workers.sampler import Sampler
from sora_core import storage
from sora_core.pipeline import Pipeline
from sora_core.shapes import PixelShape

from .bench import WORDS_ALONE
from .faults import Faulty
from .live import config_in, eventually
from .test_ledger import new_job

PARAMS = {"prompt": "a red ball", "negative_prompt": "", "fps": 8.0, "seconds": "1", "guidance_scale": 1.0, "seed": 1}
PARAMS |= {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 2} | WORDS_ALONE


def finished(folder: Path, run_uri: str, pipeline: Pipeline, fault_of: Callable[[str], str | None]) -> None:
    """Two jobs through a sampler and a decoder whose ledger has these faults: both done, and no file too many."""
    config = config_in(folder, run_uri, sampler={"save_every_s": 0.0, "idle_poll_s": 0.001})
    ledger = Ledger.open(config.ledger)
    pair: Any = Faulty(ledger, fault_of)
    jobs = ledger.create(
        [new_job(id=new_id(1.0), model="tiny", tokens=8, num_steps=2, params=PARAMS) for _ in range(2)]
    )
    sampler, decoder = Sampler(config, pipeline, pair, "s"), Decoder(config, pipeline.frames, pair, "d")

    def closed() -> bool:
        sampler.tick()
        decoder.tick()
        return not any(job.is_open for job in ledger.rows([job.id for job in jobs]))

    sampler.begin()
    eventually(closed)
    sampler.end()
    assert all(tidy(ledger, config.output, job.id) for job in jobs)
    ended = ledger.rows([job.id for job in jobs])
    assert [(job.status, job.losses) for job in ended] == [(Status.COMPLETED, 0)] * 2
    results = {variant["uri"] for job in ended for variant in (job.result or {}).values()}
    assert set(below(config.output)) == results
    assert len(results) == 6
    ledger.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is so at once."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_an_answer_of_each_method_may_get_lost_once(tmp_path: Path, tiny_run: str, tiny_pipeline: Pipeline) -> None:
    seen: set[str] = set()

    def once(name: str) -> str | None:
        first = name not in seen
        seen.add(name)
        return "lost" if first else None

    finished(tmp_path, tiny_run, tiny_pipeline, once)
    assert seen >= {"claim", "claimed_by", "renew", "save", "hand_over", "finish", "beat"}


@pytest.mark.usefixtures("at_once")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from([None, None, "lost", "away"]), max_size=60))
def test_faults_may_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, tiny_run: str, tiny_pipeline: Pipeline, faults: list[str | None]
) -> None:
    left = iter(faults)
    finished(tmp_path_factory.mktemp("faults"), tiny_run, tiny_pipeline, lambda _name: next(left, None))


# --- processes that die


class Killed(BaseException):
    """The process is gone: nothing after this line of it runs."""


class Mortal:
    """Work on jobs as the service does it, write by write, by somebody who may die between any two."""

    def __init__(self, config: Any, ledger: Ledger, dice: random.Random, risk: float) -> None:
        self.config, self.ledger, self.dice, self.risk = config, ledger, dice, risk
        self.accepted: list[str] = []

    def _maybe_die(self) -> None:
        if self.dice.random() < self.risk:
            raise Killed

    def _store(self, uri: str) -> None:
        self._maybe_die()
        storage.write_bytes(uri, b"x")
        self._maybe_die()

    def accept(self) -> None:
        job = new_job(id=new_id(self.ledger.now()), queued_as=self.ledger.now(), made=[])
        self._store(clip_file(self.config.output, job.id, 0))
        self.ledger.create([job])
        self.accepted.append(job.id)
        self._maybe_die()

    def keep_a_character(self) -> None:
        character = self.ledger.cast.new_character("ann", "Rex", PixelShape(1, 16, 16))
        self._store(character_file(self.config.output, character.id))
        self.ledger.cast.keep_character(character, 10_000)

    def work(self, stage: Stage) -> None:
        waiting = self.ledger.waiting(stage=stage, limit_per_owner=1)
        for job in self.ledger.claim([one.id for one in waiting], "mortal", 30.0, stage=stage, most=1):
            self._maybe_die()
            if stage is Stage.SAMPLE:
                uri = latents.place(self.config.output, job, 5)
                self._store(uri)
                self.ledger.hand_over(job.lease, uri)
            else:
                self._decode(job)

    def _decode(self, job: Job) -> None:
        result = {}
        for name in ("video.mp4", "thumbnail.webp"):
            uri = storage.join(attempt_folder(self.config.output, job), name)
            self._store(uri)
            result[name] = {"uri": uri, "bytes": 1}
        if self.ledger.finish(job.lease, result):
            self._maybe_die()
            tidy(self.ledger, self.config.output, job.id)

    def delete(self) -> None:
        job_id = self.dice.choice(self.accepted)
        if self.ledger.delete(job_id):
            self._maybe_die()
            remove(self.ledger, self.config.output, job_id)


def test_after_many_deaths_every_file_belongs_to_something(tmp_path: Path, clock: Any) -> None:
    """Five hundred deaths, each at another place; then the survivors finish, and the sweeper comes by."""
    config, dice = config_in(tmp_path, "run", sampler={"max_attempts": 1000}), random.Random(5)
    ledger = Ledger.open(config.ledger, clock)
    mortal = Mortal(config, ledger, dice, risk=0.0)
    acts = [mortal.accept, mortal.keep_a_character, mortal.delete]
    acts += [lambda: mortal.work(Stage.SAMPLE), lambda: mortal.work(Stage.DECODE)]
    deaths = 0
    mortal.accept()
    mortal.risk = 0.35
    while deaths < 500:
        try:
            dice.choices(acts, [3, 1, 1, 4, 4])[0]()
        except Killed:
            deaths += 1
            clock.forward(31.0)
            ledger.reclaim(1000)
    mortal.risk = 0.0
    while ledger.waiting() or ledger.waiting(stage=Stage.DECODE):
        mortal.work(Stage.SAMPLE)
        mortal.work(Stage.DECODE)
    clock.forward(config.sweep_after_s + 60.0)
    litter = len(below(config.output))
    keeper = Housekeeper(config, ledger)
    for _ in range(10):
        clock.forward(10.0)
        keeper.tend()
    rows = ledger.rows(mortal.accepted)
    results = {file["uri"] for job in rows for file in (job.result or {}).values()}
    clips = {character_file(config.output, one.id) for one in ledger.cast.characters("ann")}
    assert set(below(config.output)) == results | clips
    assert {job.status for job in rows} == {Status.COMPLETED}
    assert litter > len(results | clips), "there was something to sweep"
    ledger.close()


def test_the_sweeper_leaves_what_is_under_way(tmp_path: Path, clock: Any) -> None:
    config = config_in(tmp_path, "run")
    ledger = Ledger.open(config.ledger, clock)
    young = clip_file(config.output, new_id(clock() - 60), 0)
    working = new_job(id=new_id(clock() - 7200))
    ledger.create([working])
    foreign = storage.join(config.output, "videos", "notes", "mine.txt")
    kept = {young, clip_file(config.output, working.id, 0)}
    for uri in (*kept, foreign, clip_file(config.output, new_id(clock() - 7200), 0)):
        storage.write_bytes(uri, b"x")
    assert born_at("notes") == math.inf
    Housekeeper(config, ledger).tend()
    assert kept <= set(below(config.output))
    assert len(below(config.output)) == len(kept) + 1
    ledger.close()


def test_files_under_an_output_that_has_moved_go_with_their_job(tmp_path: Path) -> None:
    config = config_in(tmp_path, "run")
    ledger = Ledger.open(config.ledger)
    (job,) = ledger.create([new_job(id=new_id(1.0))])
    (held,) = ledger.claim([job.id], "d", 30.0)
    for name in ("kept.mp4", "lost.mp4"):
        storage.write_bytes(storage.join(attempt_folder(str(tmp_path / "before"), held), name), b"x")
    uri = storage.join(attempt_folder(str(tmp_path / "before"), held), "kept.mp4")
    ledger.finish(held.lease, {"video": {"uri": uri, "bytes": 1}})
    assert tidy(ledger, config.output, job.id)
    assert below(str(tmp_path / "before")) == [uri]
    ledger.delete(job.id)
    assert remove(ledger, config.output, job.id)
    assert below(str(tmp_path / "before")) == []
    ledger.close()


def test_folders_of_killed_processes_are_found_and_those_in_use_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    child = os.fork()
    if child == 0:
        with storage.scratch() as folder:
            (folder / "film").write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (tmp_path / "sora-mine").mkdir()
    with storage.scratch() as used:
        assert storage.sweep_scratch() == 1
        assert {path.name for path in tmp_path.iterdir()} == {used.parent.name, "sora-mine"}
    assert not used.parent.exists()


def test_a_folder_is_found_wherever_its_process_died_in_making_or_removing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for call in ("os.rename", "os.mkdir", "os.unlink", "os.rmdir"):
        for number in range(3):
            if os.fork() == 0:
                _die_at(call, number)
                with storage.scratch() as folder:
                    (folder / "film").write_bytes(b"x")
                os._exit(0)
            os.wait()
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) > 4, "some died with a folder"
    theirs = tmp_path / "sora-12345678"
    theirs.mkdir()
    (theirs / "notes").write_bytes(b"x")
    storage.sweep_scratch(unheld_for_s=60.0)
    assert {path.name for path in tmp_path.iterdir()} < left | {theirs.name}, "an empty one may be somebody's"
    storage.sweep_scratch(unheld_for_s=0.0)
    assert [path.name for path in tmp_path.iterdir()] == [theirs.name]


def _die_at(call: str, number: int) -> None:
    """SIGKILL to this process instead of so many more calls of one that makes or removes."""
    name = call.partition(".")[2]
    real, left = getattr(os, name), [number]

    def dying(*args: Any, **kwargs: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*args, **kwargs)

    setattr(os, name, dying)
