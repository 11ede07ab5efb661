"""The rulebook of a sampler, one round at a time: what joins, what leaves, what an error or an outage costs."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from services.video.files import attempt_folder, work_folder
from services.video.film import Film, StoredClip
from services.video.job import CANCELLED, OVERDUE, Stage, Status
from services.video.ledger import Ledger
from services.video.workers import latents
from services.video.workers.failures import DeviceLost
from services.video.workers.films import request_of
from services.video.workers.sampler import Sampler
from sora_core.edits import Keyframes
from sora_core.pipeline import Generation, Pipeline
from sora_core.shapes import PixelShape

from .bench import Bench, handed_over
from .live import eventually


def test_a_job_joins_the_running_batch_at_the_next_step(bench: Bench) -> None:
    first = bench.put(num_steps=6)
    bench.sampler.tick()
    second = bench.put(num_steps=2, height=16, guidance_scale=2.0)
    bench.sampler.tick()
    assert [len(pack) for pack in bench.packs] == [1, 2]
    bench.run_dry()
    assert [bench.get(job).status for job in (first, second)] == [Status.COMPLETED, Status.COMPLETED]


def test_a_cancelled_job_takes_no_further_step(bench: Bench) -> None:
    job, other = bench.put(num_steps=50), bench.put(num_steps=3)
    bench.sampler.tick()
    bench.ledger.cancel(job.id)
    bench.sampler.tick()
    assert [len(pack) for pack in bench.packs] == [2, 1]
    assert (bench.get(job).status, bench.get(job).error_code) == (Status.FAILED, CANCELLED)
    bench.run_dry()
    assert bench.get(other).status is Status.COMPLETED


def test_a_deleted_job_takes_no_further_step_and_leaves_no_row(bench: Bench) -> None:
    job = bench.put(num_steps=50)
    bench.sampler.tick()
    bench.ledger.delete(job.id)
    assert not bench.sampler.tick()
    assert [gone.id for gone in bench.ledger.deleted()] == [job.id]


def test_progress_only_rises_and_reaches_every_step(bench: Bench) -> None:
    job = bench.put(num_steps=10)
    seen = []
    while bench.sampler.tick():
        seen.append(bench.get(job).progress)
    assert seen == sorted(seen)
    assert len(set(seen)) == 10
    bench.run_dry()
    assert bench.get(job).progress == 100


def test_a_request_that_the_model_cannot_do_fails_alone(bench: Bench) -> None:
    impossible, fine = bench.put(num_frames=6), bench.put()
    bench.run_dry()
    assert (bench.get(impossible).status, bench.get(impossible).error_code) == (Status.FAILED, "invalid_request")
    assert "5 or 9" in (bench.get(impossible).error_message or "")
    assert bench.get(fine).status is Status.COMPLETED


def test_an_error_in_a_pack_fails_the_job_that_has_it_and_no_other(bench: Bench) -> None:
    culprit, neighbour = bench.put("culprit", num_steps=3), bench.put("neighbour", num_steps=3)

    def has_culprit(generations: list[Generation]) -> bool:
        return any(generation.request.prompt == "culprit" for generation in generations)

    bench.faults = [RuntimeError("bad kernel", has_culprit) for _ in range(4)]
    bench.run_dry()
    assert (bench.get(culprit).status, bench.get(culprit).error_code) == (Status.FAILED, "server_error")
    assert bench.get(neighbour).status is Status.COMPLETED
    tried = [len(pack) for pack in bench.packs if has_culprit(pack)]
    assert tried == [2, 1, 1, 1], "once with its neighbour, then alone, as often as a job may be lost"


def test_an_error_that_does_not_come_again_costs_no_job(bench: Bench) -> None:
    jobs = [bench.put(num_steps=3) for _ in range(2)]
    bench.faults = [RuntimeError("a cosmic ray", lambda _: True) for _ in range(2)]
    bench.run_dry()
    assert [bench.get(job).status for job in jobs] == [Status.COMPLETED] * 2


class SmallDevice(TorchDispatchMode):
    """A device on which no new tensor of more elements than this has room, whatever asks for it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        is_view = any(given.alias_info is not None for given in function._schema.returns)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and not is_view and tensor.numel() > self._most:
                raise torch.OutOfMemoryError(f"{tensor.numel()} elements, room for {self._most}")
        return out


def room_for(tokens: int, pipeline: Pipeline) -> SmallDevice:
    """The largest tensor of a step is the modulation: six numbers a channel for every token."""
    return SmallDevice(tokens * 6 * pipeline.dit.config.dim)


def test_a_pack_that_runs_out_of_memory_is_split_and_all_its_jobs_finish(bench: Bench) -> None:
    jobs = [bench.put(num_steps=3) for _ in range(3)]
    bench.sampler.tick()
    with room_for(2 * 12, bench.pipeline):
        while bench.sampler.tick():
            pass
    bench.run_dry()
    assert [bench.get(job).status for job in jobs] == [Status.COMPLETED] * 3
    assert [len(pack) for pack in bench.packs] == [3, 3, 2, 2, 2]


def test_a_job_that_runs_out_of_memory_alone_fails_alone(bench: Bench) -> None:
    large, small = bench.put(num_frames=17, height=64, width=96, tokens=120), bench.put(num_steps=9)
    bench.sampler.tick()
    with room_for(100, bench.pipeline):
        while bench.sampler.tick():
            pass
    after = bench.put()
    bench.run_dry()
    assert (bench.get(large).status, bench.get(large).error_code) == (Status.FAILED, "out_of_memory")
    assert [bench.get(job).status for job in (small, after)] == [Status.COMPLETED] * 2


class BrokenDevice(TorchDispatchMode):
    """A device that computes nothing any more, as after an illegal access."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("device-side assert triggered")


def test_a_dead_device_fails_no_job_and_ends_the_loop_so_that_the_replica_is_replaced(bench: Bench) -> None:
    jobs = [bench.put(num_steps=20) for _ in range(2)]
    bench.sampler.tick()
    with BrokenDevice(), pytest.raises(DeviceLost, match="device-side assert"):
        bench.sampler.tick()
    assert [bench.get(job).status for job in jobs] == [Status.IN_PROGRESS] * 2


def test_a_job_that_brings_every_sampler_down_is_not_tried_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.put(num_steps=20)

    def lost(_job_ids: list[str]) -> None:
        raise DeviceLost("gone")

    for number in range(3):
        sampler = bench.new_sampler(f"sampler-{number + 2}")
        monkeypatch.setattr(sampler._engine, "step", lost)
        with pytest.raises(DeviceLost):
            sampler.run()
        later = Ledger.open(bench.config.ledger, clock=lambda: 4e9)
        later.reclaim(bench.config.sampler.max_attempts)
        later.close()
    assert (bench.get(job).status, bench.get(job).error_code) == (Status.FAILED, "worker_lost")


def test_a_missing_picture_fails_its_job_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    shape = PixelShape(5, 32, 48)
    room = bench.pipeline.room
    film = Film(Keyframes((0,), shape), (StoredClip(str(tmp_path / "gone.mkv"), PixelShape(1, 32, 48)),), room)
    job = bench.put(film=film.to_json())
    bench.run_dry()
    assert (bench.get(job).status, bench.get(job).error_code) == (Status.FAILED, "source_lost")


def test_a_job_taken_over_by_another_worker_is_dropped_and_its_files_too(bench: Bench) -> None:
    job = bench.put(num_steps=3)
    bench.sampler.tick()
    later = Ledger.open(bench.config.ledger, clock=lambda: 4e9)
    later.reclaim(3)
    (taken,) = later.claim([job.id], "other", 30.0)
    later.close()
    assert not bench.sampler.tick()
    assert bench.get(job).lease_owner == "other"
    assert bench.ledger.finish(taken.lease, {"video": {}})
    assert not (Path(bench.config.output) / "videos" / job.id / "attempt-1").exists()


def test_a_stopping_sampler_gives_back_what_it_has_not_finished(bench: Bench) -> None:
    job, started = bench.put(num_steps=200), bench.put(num_steps=1)
    bench.sampler.tick()
    assert bench.get(job).status is Status.IN_PROGRESS
    bench.sampler.end()
    assert (bench.get(job).status, bench.get(job).losses) == (Status.QUEUED, 0)
    assert [sampled.id for sampled in bench.ledger.waiting(stage=Stage.DECODE)] == [started.id]


def test_another_sampler_goes_on_at_the_step_where_the_first_stopped(bench: Bench) -> None:
    job = bench.put(num_steps=7, guidance_scale=2.0)
    for _ in range(3):
        bench.sampler.tick()
    bench.sampler.end()
    assert bench.get(job).saved is not None
    bench.sampler = bench.new_sampler("sampler-2")
    bench.sampler.begin()
    bench.run_dry()
    assert len(bench.packs) == 7
    resumed = bench.packs[-1][0]
    alone = bench.pipeline.start(resumed.request)
    while not alone.done:
        bench._step([alone])
    assert torch.equal(resumed.latent, alone.latent)
    assert bench.get(job).status is Status.COMPLETED


def test_a_job_that_was_saved_after_its_last_step_is_handed_over_and_not_stepped(bench: Bench) -> None:
    job = bench.put(num_steps=3)
    (held,) = bench.ledger.claim([job.id], "stopped", 30.0)
    done = bench.pipeline.start(request_of(held, 0.0, 1))
    while not done.done:
        bench._step([done])
    uri = latents.place(bench.config.output, held, done.step)
    latents.write(uri, done.state(), bench.pipeline.origin)
    assert bench.ledger.save(held.lease, uri)
    assert bench.ledger.release(held.lease)
    bench.run_dry()
    assert bench.packs == []
    assert bench.get(job).status is Status.COMPLETED


def test_the_latents_of_a_long_job_are_saved_now_and_then_and_removed_at_its_end(make: Any) -> None:
    bench: Bench = make(save_every_s=0.0)
    job = bench.put(num_steps=30)
    folder = Path(work_folder(bench.config.output, job.id))
    seen: set[str] = set()
    while bench.sampler.tick():
        seen |= {path.name for path in folder.glob("*")}
    assert len(seen) > 1
    bench.run_dry()
    assert not folder.exists()
    assert bench.get(job).saved is None


def test_a_killed_sampler_costs_the_steps_since_the_last_save(make: Any) -> None:
    """The first sampler stops without a word, as a killed one does; the second begins where it last saved."""
    bench: Bench = make(save_every_s=0.0)
    job = bench.put(num_steps=12)
    for _ in range(5):
        bench.sampler.tick()
    eventually(lambda: bench.get(job).saved)
    later = Ledger.open(bench.config.ledger, clock=lambda: 4e9)
    later.reclaim(3)
    later.close()
    saved = bench.get(job).saved or ""
    bench.packs.clear()
    other = bench.new_sampler("sampler-2")
    other.begin()
    eventually(lambda: other.tick() and bench.packs)
    first_step = bench.packs[0][0].step - 1
    assert f"-step-{first_step}." in saved
    assert first_step >= 1
    while other.tick():
        pass
    other.end()
    bench.run_dry()
    assert bench.get(job).status is Status.COMPLETED


def test_saved_latents_that_are_gone_cost_the_steps_and_not_the_job(make: Any) -> None:
    bench: Bench = make()
    job = bench.put(num_steps=3)
    bench.sampler.tick()
    bench.sampler.end()
    Path(str(bench.get(job).saved)).unlink()
    bench.sampler = bench.new_sampler("sampler-2")
    bench.sampler.begin()
    bench.run_dry()
    assert bench.get(job).status is Status.COMPLETED
    assert len(bench.packs) == 1 + 3


def test_a_job_takes_no_step_after_its_deadline(bench: Bench) -> None:
    now = [time.time()]
    bench.sampler = Sampler(bench.config, bench.pipeline, bench.ledger, "sampler-2", clock=lambda: now[0])
    bench.sampler.begin()
    job = bench.put(num_steps=200, deadline_at=now[0] + 100)
    assert bench.sampler.tick()
    now[0] += 101
    assert not bench.sampler.tick()
    assert (bench.get(job).status, bench.get(job).error_code) == (Status.FAILED, OVERDUE)


# --- decoding


def test_a_decoder_that_dies_leaves_its_job_to_the_next(bench: Bench) -> None:
    job = handed_over(bench)
    (dead,) = bench.ledger.claim([job.id], "dead", 30.0, stage=Stage.DECODE)
    stored = Path(attempt_folder(bench.config.output, dead)) / "video.mp4"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"half")
    assert not bench.decoder.tick()
    later = Ledger.open(bench.config.ledger, clock=lambda: 4e9)
    later.reclaim(3)
    later.close()
    assert bench.decoder.tick()
    assert bench.get(job).status is Status.COMPLETED
    assert [path.name for path in Path(bench.config.output).rglob("*.mp4")] == ["video.mp4"]
    assert not stored.exists()


def test_a_job_cancelled_while_it_is_decoded_leaves_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = handed_over(bench)
    monkeypatch.setattr("services.video.workers.decoder._RENEW_S", 0.0)
    whole = bench.pipeline.frames.stream

    def cancelled_meanwhile(latent: torch.Tensor, _tiling: Any) -> Any:
        for number, chunk in enumerate(whole(latent)):
            if number == 1:
                bench.ledger.cancel(job.id)
            yield chunk

    monkeypatch.setattr(bench.pipeline.frames, "stream", cancelled_meanwhile)
    assert bench.decoder.tick()
    assert (bench.get(job).status, bench.get(job).error_code) == (Status.FAILED, CANCELLED)
    assert not list(Path(bench.config.output).rglob("*.mp4"))
    assert not Path(work_folder(bench.config.output, job.id)).exists()


def test_decoding_goes_on_while_the_next_job_is_sampled(make: Any) -> None:
    bench: Bench = make()
    first = handed_over(bench)
    bench.put(num_steps=500)
    thread = threading.Thread(target=bench.decoder.tick)
    thread.start()
    steps = 0
    while thread.is_alive():
        bench.sampler.tick()
        steps += 1
    thread.join()
    assert bench.get(first).status is Status.COMPLETED
    assert steps > 1


def test_a_long_step_does_not_cost_the_lease(make: Any) -> None:
    bench: Bench = make(lease_s=0.3)
    job = bench.put()
    bench.sampler.tick()
    held = threading.Event()
    assert not held.wait(1.0)  # as long as three leases; the loop stands still
    assert bench.ledger.reclaim(3) == 0
    assert bench.get(job).status is Status.IN_PROGRESS


def test_an_outage_of_the_storage_is_ridden_out(bench: Bench, tmp_path: Path) -> None:
    """The output is a link to itself, so nothing can be stored below it, until it is gone."""
    output = Path(bench.config.output)
    output.symlink_to(output)
    job = bench.put(num_steps=1)
    while bench.sampler.tick():
        pass
    assert not threading.Event().wait(0.5)
    assert bench.get(job).status is Status.IN_PROGRESS
    output.unlink()
    bench.run_dry()
    assert bench.get(job).status is Status.COMPLETED


def test_a_video_does_not_depend_on_its_neighbours(bench: Bench, tiny_pipeline: Pipeline) -> None:
    """Latents after a mixed batch equal those of the request alone, to rounding."""
    job = bench.put("a blue cube", num_steps=4, guidance_scale=3.0, seed=5)
    for index in range(3):
        bench.put(f"neighbour {index}", num_steps=2 + index, width=32 + 16 * index, seed=index)
    bench.run_dry()
    together = next(each for pack in bench.packs for each in pack if each.request.prompt == "a blue cube")
    alone = tiny_pipeline.start(together.request)
    while not alone.done:
        tiny_pipeline.step([alone])
    assert bench.get(job).status is Status.COMPLETED
    np.testing.assert_allclose(together.latent.numpy(), alone.latent.numpy(), rtol=1e-4, atol=1e-4)
