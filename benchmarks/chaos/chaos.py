"""What is lost, doubled, wrong or left over when everything fails: 1,000 jobs.

`python -m benchmarks.chaos.chaos [--jobs 1000] [--every 3]`: PostgreSQL, two samplers, two decoders, two API replicas,
jobs of every kind by clients that try again under their keys; every few seconds a random SIGKILL, or an outage of
the database or of the storage, each when a job has ended since the last (where none does, after ten times as long), and
all the while some of the ledger's answers get lost after it has done what it was asked. Then the faults end, the rest
is worked off, the sweeper comes by, and everything is counted.
"""

import argparse
import sys
import tempfile
import time
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.chaos.people import Asked, Book, people_of
from benchmarks.chaos.world import KEY, World, opened
from services.video.housekeeping import remove_deleted, tidy
from services.video.job import CANCELLED, Job, Status
from services.video.ledger.tables import jobs
from services.video.stored import below, results_of
from services.video.sweeper import Sweeper
from sora_core import media, storage

MOST_AWAY = 6.0  # mean of absolute differences of 255 levels: batches round differently, and H.264 makes more of it
_TOLD_S = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="requests, one job each as a rule")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two faults, in which also a job ends")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--lost", type=float, default=0.01, help="share of the ledger's answers that get lost")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with opened("chaos", options.lost, options.seed) as world:
        return _run(world, options)


def _run(world: World, options: argparse.Namespace) -> int:
    began, book = time.monotonic(), Book()
    people = people_of(world.folder, world.urls, KEY, options.jobs, options.people, book)
    for person in people:
        person.start()
    told = began
    while any(person.is_alive() for person in people):
        world.breathe(options.every)
        world.strike()
        if time.monotonic() - told > _TOLD_S:
            told = time.monotonic()
            print(f"{told - began:5.0f} s: {len(book.asked)} accepted, {world.open_jobs()} of them open", flush=True)
    faults_s = time.monotonic() - began
    world.work_off()
    found = _count(world, book)
    _tell(world, book, faults_s, time.monotonic() - began)
    for name, count in found.items():
        print(f"{name:<10} {count}")
    return 1 if any(found.values()) else 0


def _tell(world: World, book: Book, faults_s: float, took_s: float) -> None:
    num_jobs = sum(len(one.ids) for one in book.asked)
    print(f"{len(book.asked)} requests, {num_jobs} jobs in {took_s:.0f} s, {faults_s:.0f} s of them with faults")
    print(f"tried again by clients: {book.refused}; " + ", ".join(f"{n} x {what}" for what, n in world.befell.items()))
    print("\n".join(book.odd))


def _count(world: World, book: Book) -> dict[str, int]:
    ledger = world.ledger
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
        "orphans": _orphans(world, rows),
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


def _orphans(world: World, rows: dict[str, Job]) -> int:
    """Files that belong to nothing, once everything was tidied and swept."""
    ledger, output = world.ledger, world.config.output
    while ledger.deleted():
        remove_deleted(ledger, output)
    for job in ledger.littered(100_000):
        tidy(ledger, output, job.id)
    Sweeper(world.config.model_copy(update={"sweep_after_s": 1e-3}), ledger).sweep()
    results = {uri for job in ledger.rows(list(rows)) for uri in results_of(job)}
    over = [uri for uri in below(storage.join(output, "videos")) if uri not in results]
    tempfile.tempdir = str(world.scratch)
    storage.sweep_scratch(unheld_for_s=0.0)
    folders = [path.name for path in world.scratch.iterdir() if path.name.startswith("sora-")]
    for one in (*over, *folders):
        print(f"orphan: {one}")
    return len(over) + len(folders)


if __name__ == "__main__":
    sys.exit(main())
