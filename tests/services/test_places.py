"""A fault of the place is not a fault of the job: what a worker does when everything fails, hangs, or has no room."""

import copy
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from services.video.job import Job, Lease, Renewal, Stage, Status
from services.video.ledger.rows import new_job as as_job
from services.video.ledger.rows import new_row
from services.video.workers import health, repertoire
from services.video.workers.crew import Crew
from services.video.workers.failures import Blame, ClipLost, blame
from services.video.workers.follow import Following
from services.video.workers.leases import Holdings
from services.video.workers.repertoire import Loaded, Repertoire
from services.video.workers.turns import Turns
from sora_core import media
from sora_core.errors import AccessDenied, ConfigError, InputError, StorageUnavailable
from sora_core.pipeline import Pipeline

from .bench import Bench, handed_over
from .live import eventually
from .test_ledger import new_job
from .tiny_model import save_tiny_checkpoint


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (AccessDenied("expired"), Blame.PLACE),
        (StorageUnavailable("away"), Blame.PLACE),
        (OSError(28, "No space left on device"), Blame.PLACE),
        (ClipLost("gone"), Blame.JOB),
        (InputError("6 frames"), Blame.JOB),
        (RuntimeError("who knows"), Blame.UNKNOWN),
    ],
)
def test_whose_fault_an_error_is(error: Exception, whose: Blame) -> None:
    assert blame(error) is whose


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_FIRST_PAUSE_S", 0.0)


def test_a_broken_encoder_costs_no_job_and_turns_its_worker_red(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Bench = make()
    jobs = [handed_over(bench) for _ in range(3)]

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no encoder found")

    with monkeypatch.context() as patched:
        patched.setattr(media, "encode_mp4", broken)
        for _ in jobs:
            assert bench.decoder.ailing is None
            bench.decoder.tick()
    assert "no encoder found" in (bench.decoder.ailing or "")
    assert [bench.get(job).losses for job in jobs] == [1] * 3
    bench.run_dry()
    assert [bench.get(job).status for job in jobs] == [Status.COMPLETED] * 3
    assert bench.decoder.ailing is None


def test_expired_credentials_cost_no_job_and_turn_the_worker_red(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Bench = make(save_every_s=None)
    jobs = [bench.put(num_steps=1) for _ in range(3)]

    def denied(*_: Any, **__: Any) -> None:
        raise AccessDenied("the credentials have expired")

    with monkeypatch.context() as patched:
        patched.setattr("services.video.workers.latents.write", denied)

        def red() -> bool:
            bench.sampler.tick()
            return "expired" in (bench.sampler.ailing or "")

        eventually(red)
    assert {(bench.get(job).is_open, bench.get(job).losses) for job in jobs} == {(True, 0)}
    bench.run_dry()
    assert [bench.get(job).status for job in jobs] == [Status.COMPLETED] * 3
    assert bench.sampler.ailing is None


def test_an_outage_longer_than_the_patience_gives_jobs_back(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Bench = make(outage_patience_s=0.0)
    job = bench.put(num_steps=2)

    def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr("services.video.workers.latents.write", away)
        while bench.sampler.tick():
            pass
        eventually(lambda: bench.get(job).status is Status.QUEUED)
    assert bench.get(job).losses == 0
    bench.run_dry()
    assert bench.get(job).status is Status.COMPLETED


def test_an_outage_while_stopping_gives_jobs_back(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Bench = make(outage_patience_s=600.0)
    job, tried = bench.put(num_steps=1), []

    def away(*_: Any, **__: Any) -> None:
        tried.append(1)
        raise StorageUnavailable("away")

    monkeypatch.setattr("services.video.workers.latents.write", away)
    while bench.sampler.tick():
        pass
    eventually(lambda: tried)
    bench.sampler.end()
    assert (bench.get(job).status, bench.get(job).losses, bench.get(job).lease_owner) == (Status.QUEUED, 0, None)


def test_a_decoder_that_is_stopped_finishes_the_job_at_hand(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at a rolling upgrade: what is drained is no loss."""
    bench: Bench = make()
    job, waiting = handed_over(bench), handed_over(bench)
    begun, go_on = threading.Event(), threading.Event()
    stream = bench.pipeline.frames.stream

    def slow(latent: torch.Tensor, tiling: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return stream(latent, tiling)

    monkeypatch.setattr(bench.pipeline.frames, "stream", slow)
    loop = threading.Thread(target=bench.decoder.run)
    loop.start()
    assert begun.wait(60)
    bench.decoder.stop()
    go_on.set()
    loop.join(60)
    assert not loop.is_alive()
    assert (bench.get(job).status, bench.get(job).losses) == (Status.COMPLETED, 0)
    assert (bench.get(waiting).lease_owner, bench.get(waiting).losses) == (None, 0)


def test_decoding_that_has_no_room_is_tried_in_smaller_tiles_and_then_alone(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Bench = make()
    job, tried = handed_over(bench), []
    stream = bench.pipeline.frames.stream

    def tight(latent: torch.Tensor, tiling: Any) -> Any:
        free = bench.decoder._device._turn.acquire(blocking=False)
        if free:
            bench.decoder._device._turn.release()
        tried.append(tiling and tiling.side)
        if len(tried) < 4:
            raise torch.OutOfMemoryError("no room")
        return stream(latent, tiling)

    monkeypatch.setattr(bench.pipeline.frames, "stream", tight)
    assert bench.decoder.tick()
    assert tried == [None, 384, 192, 192]
    assert bench.get(job).status is Status.COMPLETED


def test_latents_of_another_model_are_not_decoded_but_sampled_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench: Bench = make()
    job = handed_over(bench)
    with monkeypatch.context() as patched:
        patched.setattr(type(bench.pipeline.frames), "origin", property(lambda _self: {"space": "another"}))
        assert bench.decoder.tick()
        assert (bench.get(job).stage, bench.get(job).saved) == (Stage.SAMPLE, None)
    bench.run_dry()
    assert bench.get(job).status is Status.COMPLETED


class Renewals:
    """A ledger that notes which leases are renewed, after one error that nobody expects."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    def renew(self, progress: Any, _lease_s: float) -> Renewal:
        self.seen.append({lease.job_id for lease in progress})
        if len(self.seen) == 1:
            raise ZeroDivisionError("a fault in the driver")
        return Renewal(frozenset(), frozenset())


def test_a_lease_is_kept_by_progress_and_the_pulse_survives_any_error() -> None:
    now, ledger = [0.0], Renewals()
    fake: Any = ledger
    holdings = Holdings(fake, 0.06, 100.0, lambda: now[0])
    moving, stuck = Lease("moving", "w", 1), Lease("stuck", "w", 1)
    holdings.add(moving, 0)
    holdings.add(stuck, 0)
    now[0] = 101.0
    holdings.report(moving, 10)
    holdings.start()
    eventually(lambda: len(ledger.seen) > 2)
    holdings.stop()
    assert ledger.seen[-1] == {"moving"}
    assert "stuck" in (holdings.stalled or "")


def test_decoders_take_turns_between_owners() -> None:
    turns, order = Turns(), []
    waiting = [_waiting("ann", number) for number in range(4)] + [_waiting("bob", number) for number in range(2)]
    while waiting:
        first = turns.order(waiting)[0][0]
        (job,) = [job for job in waiting if job.id == first]
        turns.served([job])
        waiting.remove(job)
        order.append(job.owner)
    assert order == ["ann", "bob", "ann", "bob", "ann", "ann"]


def test_a_raised_priority_gets_no_decoder_before_another_owners_older_job() -> None:
    waiting = [_waiting("ann", 1, created_at=9.0), _waiting("ann", 0, created_at=5.0), _waiting("bob", 0)]
    assert Turns().order(waiting) == [["video_bob0"], ["video_ann1", "video_ann0"]]


def _waiting(owner: str, number: int, created_at: float = 0.0) -> Job:
    return as_job(new_row(new_job(owner, id=f"video_{owner}{number}"), created_at))


def test_two_samplers_share_and_one_that_comes_later_gets_work(make: Any) -> None:
    bench: Bench = make()
    jobs = [bench.put(num_steps=150) for _ in range(4)]
    other = bench.new_sampler("sampler-2")
    other.begin()
    other._rate.tell()
    bench.sampler.tick()
    assert [bench.get(job).lease_owner for job in jobs].count("sampler-1") == 2
    other.tick()
    assert [bench.get(job).lease_owner for job in jobs].count("sampler-2") == 2
    other.end()
    time.sleep(1.1)  # nobody else has taken them
    bench.sampler.tick()
    bench.sampler.tick()
    assert [bench.get(job).lease_owner for job in jobs].count("sampler-1") == 4
    late = bench.new_sampler("sampler-3")
    late.begin()

    def moved() -> bool:
        bench.sampler.tick()
        late.tick()
        return [bench.get(job).lease_owner for job in jobs].count("sampler-3") == 1

    eventually(moved)
    late.end()


def test_a_new_checkpoint_takes_the_further_jobs_and_the_old_one_finishes_its_own(make: Any, tmp_path: Path) -> None:
    bench: Bench = make()
    bench.sampler.end()
    run = save_tiny_checkpoint(str(tmp_path / "tiny"))
    loaded: list[Pipeline] = []

    def crew_of(uri: str) -> Crew:
        loaded.append(Pipeline.load(uri, "cpu"))
        return Crew.sampling(bench.config, loaded[-1], bench.ledger)

    following = Following(run, crew_of)
    following.start()
    old = bench.put(num_steps=25)
    eventually(lambda: bench.get(old).progress > 0)
    assert not following.look()
    shutil.copytree(tmp_path / "tiny" / "checkpoints" / "step-1", tmp_path / "tiny" / "checkpoints" / "step-2")
    assert following.look()
    new = bench.put(num_steps=2)
    eventually(lambda: [bench.get(job).status for job in (old, new)] == [Status.COMPLETED] * 2)
    assert (bench.get(old).attempts, following.ills) == (2, []), "sampled once, decoded once"
    following.stop()
    assert len(loaded) == 2


def test_models_take_turns_in_a_memory_that_holds_one(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repertoire, "_LOOK_S", 0.02)
    bench: Bench = make()
    bench.sampler.end()
    other = copy.copy(bench.pipeline)
    other.name, other.frames = "other", copy.copy(bench.pipeline.frames)
    other.frames.name = "other"
    pipelines, loads = {"tiny": bench.pipeline, "other": other}, list[str]()

    def load(uri: str) -> Loaded:
        loads.append(uri)
        bench.ledger.roster.publish_model(uri, {"checkpoint": uri})
        return Loaded(uri, 60, Crew.sampling(bench.config, pipelines[uri], bench.ledger))

    with pytest.raises(ConfigError, match="60 bytes: more than memory_bytes = 50"):
        Repertoire(["tiny"], load, bench.ledger, 50)
    loads.clear()
    models = Repertoire(["tiny", "other"], load, bench.ledger, 100)
    assert (loads, models.loaded) == (["other", "tiny"], ["tiny"])
    jobs = [bench.put(model=name, num_steps=2) for name in ("tiny", "other", "tiny", "other")]
    models.start()

    def all_done() -> bool:
        assert len(models.loaded) <= 1
        return {bench.get(job).status for job in jobs} == {Status.COMPLETED}

    eventually(all_done)
    assert [(bench.get(job).attempts, bench.get(job).losses) for job in jobs] == [(2, 0)] * 4
    models.stop()
    assert loads[2:] == ["other"], "the model that was loaded first did its work before it made way"
