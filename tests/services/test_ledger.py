"""The rulebook of the ledger, on SQLite and on PostgreSQL alike."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.video.job import (
    CANCELLED,
    OVERDUE,
    SAMPLED_PERCENT,
    UNSERVED,
    Idempotency,
    IdempotencyConflict,
    Job,
    NewJob,
    RequestGone,
    Stage,
    Status,
    new_id,
)
from services.video.ledger import Ledger
from services.video.ledger.tables import LedgerUnavailable, metadata, migrations, open_database, transaction
from sora_core.errors import ConfigError

LEASE_S = 30.0


def new_job(owner: str = "ann", **changes: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": new_id(1_700_000_000.0),
        "owner": owner,
        "model": "m",
        "params": {"prompt": "a red ball", "seed": 7},
        "tokens": 100,
        "num_steps": 10,
        "priority": 0,
        "queued_as": 1_700_000_000.0,
    }
    return NewJob(**values | changes)


def put(ledger: Ledger, owner: str = "ann", **changes: Any) -> Job:
    return ledger.create([new_job(owner, **changes)])[0]


def claimed(ledger: Ledger, worker: str = "w1", **changes: Any) -> Job:
    return ledger.claim([put(ledger, **changes).id], worker, LEASE_S)[0]


def state(ledger: Ledger, job: Job) -> Status:
    found = ledger.get(job.id)
    assert found is not None
    return found.status


def test_a_job_keeps_what_it_was_created_with(ledger: Ledger) -> None:
    created = put(ledger)
    found = ledger.get(created.id, "ann")
    assert found == created
    assert (found.status, found.progress, found.attempts) == (Status.QUEUED, 0, 0)
    assert found.params == {"prompt": "a red ball", "seed": 7}


def test_a_job_is_seen_by_its_owner_only(ledger: Ledger) -> None:
    job = put(ledger, "ann")
    assert ledger.get(job.id, "bob") is None
    assert ledger.cancel(job.id, "bob") is None
    assert ledger.delete(job.id, "bob") is None
    assert ledger.page("bob").jobs == []
    assert state(ledger, job) is Status.QUEUED


def test_ids_sort_by_creation() -> None:
    ids = [new_id(1_700_000_000.0 + step / 1000) for step in range(200)]
    assert ids == sorted(ids)


# --- claims and leases


def test_a_claimed_job_is_in_progress_and_off_the_queue(ledger: Ledger) -> None:
    job = claimed(ledger)
    assert (job.status, job.attempts, job.lease_owner) == (Status.IN_PROGRESS, 1, "w1")
    assert ledger.waiting() == []


def test_claims_come_in_the_order_asked_for(ledger: Ledger) -> None:
    ids = [put(ledger).id for _ in range(4)]
    wanted = [ids[2], ids[0], ids[3]]
    assert [job.id for job in ledger.claim(wanted, "w1", LEASE_S)] == wanted


def test_no_two_workers_claim_the_same_job(ledger: Ledger) -> None:
    ids = [job.id for job in ledger.create([new_job() for _ in range(40)])]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda worker: ledger.claim(ids, f"w{worker}", LEASE_S), range(8)))
    taken = [job.id for jobs in won for job in jobs]
    assert sorted(taken) == sorted(ids)


def test_a_lease_that_is_renewed_is_not_reclaimed(ledger: Ledger, clock: Any) -> None:
    job = claimed(ledger)
    for percent in range(0, 50, 10):
        clock.forward(LEASE_S * 0.9)
        renewal = ledger.renew({job.lease: percent}, LEASE_S)
        assert not renewal.cancelled
        assert not renewal.lost
        assert ledger.reclaim(3) == 0
    found = ledger.get(job.id)
    assert found is not None
    assert found.progress == 40


def test_an_expired_lease_goes_back_to_the_queue_and_is_finished_once(ledger: Ledger, clock: Any) -> None:
    first = claimed(ledger, "w1")
    clock.forward(LEASE_S + 1)
    assert ledger.reclaim(3) == 1
    assert [job.id for job in ledger.waiting()] == [first.id]
    (second,) = ledger.claim([first.id], "w2", LEASE_S)
    assert second.attempts == 2
    assert ledger.renew({first.lease: 90}, LEASE_S).lost == {first.lease}
    assert not ledger.finish(first.lease, {"video": "one"})
    assert not ledger.fail(first.lease, "broken", "too late")
    assert not ledger.release(first.lease)
    assert ledger.finish(second.lease, {"video": "two"})
    assert not ledger.finish(second.lease, {"video": "three"})
    found = ledger.get(first.id)
    assert found is not None
    assert (found.status, found.progress, found.result) == (Status.COMPLETED, 100, {"video": "two"})


def test_the_same_worker_must_not_finish_an_older_attempt(ledger: Ledger, clock: Any) -> None:
    first = claimed(ledger, "w1")
    clock.forward(LEASE_S + 1)
    ledger.reclaim(3)
    (second,) = ledger.claim([first.id], "w1", LEASE_S)
    assert not ledger.finish(first.lease, {})
    assert ledger.finish(second.lease, {})


def test_a_job_whose_workers_keep_dying_fails_with_its_reason(ledger: Ledger, clock: Any) -> None:
    job = put(ledger)
    for _ in range(3):
        assert ledger.claim([job.id], "w", LEASE_S)
        clock.forward(LEASE_S + 1)
        assert ledger.reclaim(3) == 1
    found = ledger.get(job.id)
    assert found is not None
    assert (found.status, found.error_code) == (Status.FAILED, "worker_lost")
    assert "3 times" in (found.error_message or "")


def test_a_released_job_waits_again_and_that_is_no_loss(ledger: Ledger) -> None:
    job = claimed(ledger)
    assert ledger.release(job.lease)
    (again,) = ledger.waiting()
    assert (again.id, again.status, again.losses, again.progress) == (job.id, Status.QUEUED, 0, 0)


def test_a_job_released_is_held_by_another_lease_next_time(ledger: Ledger) -> None:
    first = claimed(ledger, "w1")
    ledger.release(first.lease)
    (second,) = ledger.claim([first.id], "w1", LEASE_S)
    assert not ledger.finish(first.lease, {})
    assert ledger.finish(second.lease, {})


def test_a_job_that_gets_on_between_the_deaths_of_its_workers_is_not_given_up(ledger: Ledger, clock: Any) -> None:
    job = put(ledger)
    for step in range(5):
        (held,) = ledger.claim([job.id], "w", LEASE_S)
        assert ledger.save(held.lease, f"step-{step}")
        clock.forward(LEASE_S + 1)
        ledger.reclaim(2)
    (waiting,) = ledger.waiting()
    assert (waiting.saved, waiting.losses) == ("step-4", 1)


def test_a_lost_lease_saves_nothing(ledger: Ledger, clock: Any) -> None:
    job = claimed(ledger)
    clock.forward(LEASE_S + 1)
    ledger.reclaim(3)
    assert not ledger.save(job.lease, "late")
    assert not ledger.hand_over(job.lease, "late")
    assert ledger.waiting()[0].saved is None


class Twice:
    """A ledger that commits and then says, once, that it didn't answer; a caller tries again and gets that answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)

        def twice(*args: Any, **kwargs: Any) -> Any:
            method(*args, **kwargs)
            return method(*args, **kwargs)

        return twice


def test_every_write_of_a_worker_succeeds_again_when_its_answer_got_lost(ledger: Ledger) -> None:
    twice, made = Twice(ledger), put(ledger, made=[])
    (held,) = ledger.claim([made.id], "sampler", LEASE_S)
    assert not twice.renew({held.lease: 10}, LEASE_S).lost
    assert twice.save(held.lease, "half")
    assert twice.hand_over(held.lease, "latents-1", 40)
    (held,) = ledger.claim([made.id], "decoder", LEASE_S, stage=Stage.DECODE)
    assert twice.advance(held.lease, ["one"])
    (held,) = ledger.claim([made.id], "sampler", LEASE_S)
    assert twice.hand_over(held.lease, "latents-2")
    (held,) = ledger.claim([made.id], "decoder", LEASE_S, stage=Stage.DECODE)
    assert twice.finish(held.lease, {"video": {"uri": "a", "bytes": 1}})
    assert state(ledger, made) is Status.COMPLETED
    failed = claimed(ledger)
    assert twice.fail(failed.lease, "server_error", "why")
    assert not twice.finish(failed.lease, {})
    twice.tidied(made.id)
    assert twice.reclaim(3) == 0


def test_a_write_that_another_workers_has_overtaken_is_still_there(ledger: Ledger) -> None:
    """The repetition comes when a decoder has the job already, and when its result is there."""
    job = claimed(ledger, "sampler")
    assert ledger.hand_over(job.lease, "latents")
    (decoding,) = ledger.claim([job.id], "decoder", LEASE_S, stage=Stage.DECODE)
    assert ledger.hand_over(job.lease, "latents")
    assert ledger.finish(decoding.lease, {"video": "two"})
    assert ledger.hand_over(job.lease, "latents")
    assert not ledger.hand_over(job.lease, "others")
    assert not ledger.fail(job.lease, CANCELLED, "cancelled")
    assert state(ledger, job) is Status.COMPLETED


def test_a_worker_finds_what_it_claimed_when_the_answer_got_lost(ledger: Ledger) -> None:
    first, second = put(ledger), put(ledger)
    ledger.claim([first.id, second.id], "w1", LEASE_S)
    ledger.delete(second.id)
    put(ledger)
    assert [job.id for job in ledger.claimed_by("w1")] == [first.id]
    assert ledger.claimed_by("w2") == []


def test_a_job_that_is_blamed_counts_a_loss_and_one_whose_latents_are_lost_is_sampled_again(ledger: Ledger) -> None:
    job = claimed(ledger)
    assert ledger.release(job.lease, blamed=True)
    (held,) = ledger.claim([job.id], "w1", LEASE_S)
    assert held.losses == 1
    ledger.hand_over(held.lease, "latents")
    (held,) = ledger.claim([job.id], "d1", LEASE_S, stage=Stage.DECODE)
    assert ledger.sample_again(held.lease)
    (waiting,) = ledger.waiting()
    assert (waiting.status, waiting.saved, waiting.progress, waiting.losses) == (Status.QUEUED, None, 0, 1)


def test_jobs_of_a_model_that_nobody_serves_end_with_that_reason(ledger: Ledger, clock: Any) -> None:
    ledger.roster.publish_model("old", {})
    ledger.roster.publish_model("new", {})
    old, new, unknown = put(ledger, model="old"), put(ledger, model="new"), put(ledger, model="never")
    assert ledger.reclaim(3, unserved_s=100) == 0
    clock.forward(101)
    ledger.roster.beat("w", "new", 1.0)
    assert ledger.reclaim(3) == 0
    assert ledger.reclaim(3, unserved_s=100) == 2
    for job in (old, unknown):
        ended = ledger.get(job.id)
        assert ended is not None
        assert (ended.status, ended.error_code) == (Status.FAILED, UNSERVED)
    assert state(ledger, new) is Status.QUEUED


def test_one_process_takes_a_turn_and_an_outage_breaks_their_row(ledger: Ledger, clock: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda _: ledger.roster.take_turn("house", 5, 20), range(4)))
    assert sorted(first, key=lambda turn: turn is None) == [0.0, None, None, None]
    for after, steady in ((4, None), (2, 6.0), (19, 25.0), (21, 0.0), (5, 5.0)):
        clock.forward(after)
        assert ledger.roster.take_turn("house", 5, 20) == steady
    assert ledger.roster.take_turn("another", 5, 20) == 0.0


# --- from samplers to decoders


def sampled(ledger: Ledger) -> Job:
    """A job whose latents wait for a decoder."""
    job = claimed(ledger, "sampler")
    assert ledger.hand_over(job.lease, "latents")
    return job


def test_a_sampled_job_waits_for_a_decoder_and_for_no_sampler(ledger: Ledger) -> None:
    job = sampled(ledger)
    assert ledger.waiting() == []
    (waiting,) = ledger.waiting(stage=Stage.DECODE)
    assert (waiting.id, waiting.saved, waiting.status) == (job.id, "latents", Status.IN_PROGRESS)
    assert (waiting.lease_owner, waiting.progress) == (None, SAMPLED_PERCENT)
    assert not ledger.finish(job.lease, {})


def test_a_job_that_was_sampled_since_it_was_seen_waiting_is_not_sampled_again(ledger: Ledger) -> None:
    put(ledger)
    seen = ledger.waiting()
    (job,) = ledger.claim([job.id for job in seen], "faster", LEASE_S)
    assert ledger.hand_over(job.lease, "latents")
    assert ledger.claim([job.id for job in seen], "slower", LEASE_S) == []


def test_a_window_that_is_made_sends_its_job_to_the_samplers_for_the_next(ledger: Ledger, clock: Any) -> None:
    job = put(ledger, made=[])
    for made in (["first"], ["first", "second"]):
        (sampling,) = ledger.claim([job.id], "sampler", LEASE_S)
        assert ledger.hand_over(sampling.lease, "latents", 30)
        (decoding,) = ledger.claim([job.id], "decoder", LEASE_S, stage=Stage.DECODE)
        assert ledger.advance(decoding.lease, made)
        (waiting,) = ledger.waiting()
        assert (waiting.made, waiting.window, waiting.saved, waiting.status) == (made, len(made), None, "in_progress")
        assert not ledger.advance(decoding.lease, [*made, "twice"])
    (lost,) = ledger.claim([job.id], "dies", LEASE_S)
    clock.forward(LEASE_S + 1)
    ledger.reclaim(3)
    (waiting,) = ledger.waiting()
    assert (waiting.made, waiting.progress, lost.window) == (["first", "second"], 30, 2)
    ledger.cancel(job.id)
    assert [closed.id for closed in ledger.littered()] == [job.id]
    ledger.tidied(job.id)
    assert ledger.littered() == []


def test_a_film_that_shall_be_cancelled_makes_no_further_window(ledger: Ledger) -> None:
    job = put(ledger, made=[])
    (sampling,) = ledger.claim([job.id], "sampler", LEASE_S)
    assert ledger.hand_over(sampling.lease, "latents", 30)
    (decoding,) = ledger.claim([job.id], "decoder", LEASE_S, stage=Stage.DECODE)
    ledger.cancel(job.id)
    assert not ledger.advance(decoding.lease, ["first"])
    assert ledger.fail(decoding.lease, CANCELLED, "cancelled")


def test_a_decoder_that_dies_costs_the_decoding_only(ledger: Ledger, clock: Any) -> None:
    job = sampled(ledger)
    (first,) = ledger.claim([job.id], "d1", LEASE_S, stage=Stage.DECODE)
    clock.forward(LEASE_S + 1)
    assert ledger.reclaim(3) == 1
    assert ledger.waiting() == []
    (waiting,) = ledger.waiting(stage=Stage.DECODE)
    (second,) = ledger.claim([waiting.id], "d2", LEASE_S, stage=Stage.DECODE)
    assert (second.saved, second.losses, second.progress) == ("latents", 1, SAMPLED_PERCENT)
    assert not ledger.finish(first.lease, {"video": "one"})
    assert ledger.finish(second.lease, {"video": "two"})


def test_a_job_between_sampler_and_decoder_is_cancelled_at_once(ledger: Ledger) -> None:
    job = sampled(ledger)
    assert ledger.cancel(job.id)
    assert state(ledger, job) is Status.FAILED
    assert ledger.waiting(stage=Stage.DECODE) == []


def test_a_job_that_shall_be_cancelled_is_not_handed_over(ledger: Ledger) -> None:
    job = claimed(ledger)
    ledger.cancel(job.id)
    assert not ledger.hand_over(job.lease, "latents")
    assert ledger.fail(job.lease, CANCELLED, "cancelled")


def test_several_decoders_claim_one_job_each(ledger: Ledger) -> None:
    ids = [sampled(ledger).id for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        claim = partial(ledger.claim, stage=Stage.DECODE, most=1)
        won = list(pool.map(lambda worker: claim(ids, f"d{worker}", LEASE_S), range(4)))
    assert sorted(job.id for jobs in won for job in jobs) == sorted(ids)
    assert [len(jobs) for jobs in won] == [1] * 4


def test_saved_latents_of_closed_jobs_are_litter_until_they_are_gone(ledger: Ledger) -> None:
    job, going_on = sampled(ledger), sampled(ledger)
    ledger.cancel(job.id)
    assert [closed.id for closed in ledger.littered()] == [job.id]
    ledger.tidied(job.id)
    ledger.tidied(going_on.id)
    assert ledger.littered() == []
    assert ledger.waiting(stage=Stage.DECODE)[0].saved == "latents"


def test_a_job_that_waits_beyond_its_deadline_fails(ledger: Ledger, clock: Any) -> None:
    late, running = put(ledger, deadline_at=clock() + 10), claimed(ledger, deadline_at=clock() + 10)
    clock.forward(11)
    assert ledger.reclaim(3) == 1
    found = ledger.get(late.id)
    assert found is not None
    assert (found.status, found.error_code) == (Status.FAILED, OVERDUE)
    assert state(ledger, running) is Status.IN_PROGRESS


def test_a_failure_keeps_its_reason_and_is_final(ledger: Ledger) -> None:
    job = claimed(ledger)
    assert ledger.fail(job.lease, "out_of_memory", "needs 9 GB, 8 are free")
    found = ledger.get(job.id)
    assert found is not None
    assert (found.status, found.error_code, found.error_message) == (
        Status.FAILED,
        "out_of_memory",
        "needs 9 GB, 8 are free",
    )
    assert not ledger.finish(job.lease, {})
    assert found.completed_at is not None


# --- cancel and delete


def test_a_waiting_job_is_cancelled_at_once(ledger: Ledger) -> None:
    job = ledger.cancel(put(ledger).id)
    assert job is not None
    assert (job.status, job.error_code) == (Status.FAILED, CANCELLED)
    assert ledger.claim([job.id], "w1", LEASE_S) == []


def test_a_running_job_learns_of_its_cancellation_at_the_next_renewal(ledger: Ledger) -> None:
    job, other = claimed(ledger), claimed(ledger)
    ledger.cancel(job.id)
    renewal = ledger.renew({job.lease: 10, other.lease: 20}, LEASE_S)
    assert renewal.cancelled == {job.lease}
    assert not renewal.lost
    assert ledger.fail(job.lease, CANCELLED, "cancelled")


def test_cancelling_a_finished_job_changes_nothing(ledger: Ledger) -> None:
    job = claimed(ledger)
    ledger.finish(job.lease, {"video": "uri"})
    assert ledger.cancel(job.id) == ledger.get(job.id)
    assert state(ledger, job) is Status.COMPLETED


def test_a_cancelled_job_whose_worker_dies_is_not_tried_again(ledger: Ledger, clock: Any) -> None:
    job = claimed(ledger)
    ledger.cancel(job.id)
    clock.forward(LEASE_S + 1)
    ledger.reclaim(3)
    found = ledger.get(job.id)
    assert found is not None
    assert (found.status, found.error_code) == (Status.FAILED, CANCELLED)


@pytest.mark.parametrize("running", [False, True])
def test_a_deleted_job_is_gone_for_everybody_and_purged_when_nobody_works_on_it(
    ledger: Ledger, clock: Any, running: bool
) -> None:
    job = claimed(ledger) if running else put(ledger)
    assert ledger.delete(job.id) is not None
    assert ledger.get(job.id) is None
    assert ledger.page("ann").jobs == []
    assert ledger.delete(job.id) is None
    if running:
        assert ledger.deleted() == []
        assert ledger.renew({job.lease: 10}, LEASE_S).lost == {job.lease}
        clock.forward(LEASE_S + 1)
        ledger.reclaim(3)
    assert [gone.id for gone in ledger.deleted()] == [job.id]
    ledger.purge(job.id)
    assert ledger.deleted() == []


def test_an_expired_video_is_due_for_removal(ledger: Ledger, clock: Any) -> None:
    job = claimed(ledger)
    ledger.finish(job.lease, {}, expires_at=clock() + 10)
    assert ledger.deleted() == []
    clock.forward(11)
    assert [gone.id for gone in ledger.deleted()] == [job.id]


# --- requests


def test_a_request_is_accepted_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        ledger.create([new_job(), new_job(model=None)])
    assert ledger.page("ann").jobs == []


def test_a_repeated_idempotency_key_makes_no_second_job(ledger: Ledger) -> None:
    once = Idempotency("key", "digest")
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: ledger.create([new_job(), new_job()], once), range(6)))
    assert all(jobs == made[0] for jobs in made)
    assert len(ledger.page("ann").jobs) == 2


def test_an_idempotency_key_belongs_to_one_owner_and_one_request(ledger: Ledger) -> None:
    job = ledger.create([new_job("ann")], Idempotency("key", "digest"))[0]
    assert ledger.create([new_job("bob")], Idempotency("key", "digest"))[0].id != job.id
    with pytest.raises(IdempotencyConflict, match="key"):
        ledger.create([new_job("ann")], Idempotency("key", "another"))


def test_an_idempotency_key_is_forgotten_after_its_time(ledger: Ledger, clock: Any) -> None:
    once = Idempotency("key", "digest")
    first = ledger.create([new_job()], once)
    clock.forward(100)
    ledger.forget_requests(older_than_s=200)
    assert ledger.create([new_job()], once) == first
    ledger.forget_requests(older_than_s=50)
    assert ledger.create([new_job()], once) != first


def test_what_is_left_of_a_request_is_given_again_until_nothing_is(ledger: Ledger, clock: Any) -> None:
    once = Idempotency("key", "digest")
    assert ledger.repeated("ann", once) is None
    first, second = ledger.create([new_job(), new_job(expires_at=clock() + 10)], once)
    assert ledger.repeated("ann", once) == [first, second]
    ledger.delete(first.id)
    assert ledger.repeated("ann", once) == [second]
    clock.forward(11)
    for ask in (lambda: ledger.repeated("ann", once), lambda: ledger.create([new_job()], once)):
        with pytest.raises(RequestGone, match="key"):
            ask()
    with pytest.raises(IdempotencyConflict):
        ledger.repeated("ann", Idempotency("key", "another"))


def test_jobs_that_are_there_already_are_not_made_twice(ledger: Ledger) -> None:
    new = [new_job(), new_job()]
    assert ledger.create(new) == ledger.create(new)
    assert len(ledger.page("ann").jobs) == 2


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_partition_the_list_in_order(ledger: Ledger, newest_first: bool) -> None:
    ids = [put(ledger).id for _ in range(7)]
    put(ledger, "bob")
    seen: list[str] = []
    more = True
    while more:
        page = ledger.page("ann", after=seen[-1] if seen else None, limit=3, newest_first=newest_first)
        seen += [job.id for job in page.jobs]
        more = page.has_more
    assert seen == sorted(ids, reverse=newest_first)


def test_a_list_goes_on_after_its_last_item_was_deleted(ledger: Ledger) -> None:
    ids = [put(ledger).id for _ in range(4)]
    last = ledger.page("ann", limit=2).jobs[-1]
    ledger.delete(last.id)
    ledger.purge(last.id)
    assert [job.id for job in ledger.page("ann", after=last.id).jobs] == [ids[1], ids[0]]


# --- the queue


def test_the_queue_shows_the_front_of_every_owner(ledger: Ledger) -> None:
    ledger.create([new_job("ann", queued_as=float(step)) for step in range(20)])
    late = put(ledger, "bob", queued_as=1000.0)
    front = ledger.waiting(limit_per_owner=3)
    assert [job.queued_as for job in front] == [0.0, 1.0, 2.0, 1000.0]
    assert front[-1].id == late.id


def test_the_backlog_counts_work_left_and_the_rate_of_live_workers(ledger: Ledger, clock: Any) -> None:
    assert ledger.roster.backlog().wait_s == 0.0
    half = claimed(ledger, tokens=100, num_steps=10)
    ledger.renew({half.lease: SAMPLED_PERCENT // 2}, LEASE_S)
    sampled(ledger)
    put(ledger, "bob", tokens=50, num_steps=2)
    assert ledger.roster.backlog().wait_s is None
    ledger.roster.beat("w1", "m", 200.0)
    ledger.roster.beat("w2", "m", 100.0)
    backlog = ledger.roster.backlog()
    assert (backlog.token_steps, backlog.token_steps_per_s, backlog.wait_s) == (600.0, 300.0, 2.0)
    assert (backlog.waiting, ledger.roster.backlog("ann").waiting, backlog.live_workers) == (1, 0, 2)
    assert (ledger.roster.counts()[Status.QUEUED], ledger.roster.counts()[Status.IN_PROGRESS]) == (1, 2)
    assert (backlog.unsampled, backlog.rate_of_one) == (2, 0.0)
    clock.forward(3600)
    assert ledger.roster.backlog().wait_s is None


def test_work_of_another_model_is_nobody_elses_backlog_and_is_counted_beyond_32_bits(ledger: Ledger) -> None:
    put(ledger, model="huge", tokens=2**31 - 1, num_steps=100)
    put(ledger, model="mine", tokens=10, num_steps=10)
    ledger.roster.beat("w1", "huge", 1000.0)
    ledger.roster.beat("w2", "mine", 10.0)
    ledger.roster.beat("d2", "mine", 0.0, stage=Stage.DECODE, decoded_per_s=0.5)
    huge, mine = ledger.roster.backlog(model="huge"), ledger.roster.backlog(model="mine")
    assert huge.token_steps == (2**31 - 1) * 100.0
    assert (mine.token_steps, mine.waiting, mine.live_workers, mine.tokens) == (100.0, 1, 1, 10.0)
    assert mine.wait_s == 20.0, "decoding is what takes long"
    assert ledger.roster.backlog("bob", "mine").waiting == 0


def test_predictions_follow_what_happened(ledger: Ledger) -> None:
    ledger.roster.publish_model("m", {})
    ledger.roster.beat("w", "m", 10.0)
    put(ledger, tokens=10, num_steps=10)
    for _ in range(60):
        reckoned = ledger.roster.backlog(model="m").reckoned_s(0, 0)
        assert reckoned is not None
        ledger.roster.learn_wait("m", 25.0 / reckoned)
    assert ledger.roster.backlog(model="m").wait_s == pytest.approx(25.0, rel=0.01)


def test_the_rate_of_a_model_outlives_its_samplers(ledger: Ledger, clock: Any) -> None:
    ledger.roster.publish_model("m", {"fps": 8})
    ledger.roster.beat("w1", "m", 50.0)
    ledger.roster.beat("w2", "m", 0.0)
    put(ledger, tokens=50, num_steps=2)
    clock.forward(3600)
    backlog = ledger.roster.backlog()
    assert (backlog.live_workers, backlog.rate_of_one, backlog.wait_s) == (0, 50.0, 2.0)


def test_the_newest_model_card_counts(ledger: Ledger) -> None:
    ledger.roster.publish_model("m", {"fps": 8})
    ledger.roster.publish_model("m", {"fps": 24})
    assert ledger.roster.model_cards() == [{"fps": 24}]


def test_a_model_whose_samplers_are_long_silent_is_not_offered(ledger: Ledger, clock: Any) -> None:
    ledger.roster.publish_model("old", {"fps": 8})
    ledger.roster.publish_model("new", {"fps": 24})
    clock.forward(3600)
    assert ledger.roster.model_cards() == []
    ledger.roster.beat("w1", "new", 1.0)
    assert ledger.roster.model_cards() == [{"fps": 24}]


def test_a_model_without_samplers_is_offered_while_somebody_answers_for_it(ledger: Ledger, clock: Any) -> None:
    assert not ledger.roster.keep_offered("run")
    ledger.roster.publish_model("m", {"checkpoint": "run"})
    clock.forward(3600)
    assert ledger.roster.keep_offered("run")
    assert ledger.roster.model_cards() == [{"checkpoint": "run"}]
    assert not ledger.roster.keep_offered("another run")


def test_a_sampler_sees_the_jobs_of_its_own_model(ledger: Ledger) -> None:
    job = put(ledger, model="mine")
    put(ledger, model="another")
    assert [waiting.id for waiting in ledger.waiting("mine")] == [job.id]


# --- the database


def test_what_is_accepted_survives_the_process(ledger: Ledger, ledger_url: str) -> None:
    job = put(ledger)
    ledger.close()
    again = Ledger.open(ledger_url)
    assert again.get(job.id) == job
    again.close()


def test_processes_that_start_together_migrate_once(ledger_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: open_database(ledger_url), range(4)))
    for engine in engines:
        engine.dispose()


def test_the_migrations_lead_to_the_tables_of_the_code(ledger: Ledger, ledger_url: str) -> None:
    engine = open_database(ledger_url)
    with engine.connect() as db:
        differences = compare_metadata(MigrationContext.configure(db, opts={"compare_type": True}), metadata)
    engine.dispose()
    assert differences == []


def test_jobs_of_the_version_before_edits_are_kept_and_those_from_a_picture_asked_for_again(
    ledger: Ledger, ledger_url: str
) -> None:
    words, picture = put(ledger, params={"prompt": "x", "input": None}), put(ledger, params={"input": "a.png"})
    engine = ledger.engine
    with transaction(engine, writes=True) as db:
        config = migrations(db)
        command.downgrade(config, "0003")
        command.upgrade(config, "head")
    kept, again = ledger.get(words.id), ledger.get(picture.id)
    assert kept is not None
    assert again is not None
    assert (kept.status, kept.params["num_inference_steps"], kept.num_windows) == (Status.QUEUED, 10, 1)
    assert (again.status, again.error_code) == (Status.FAILED, CANCELLED)


@pytest.mark.parametrize("url", ["jobs.db", "sqlite://", "sqlite:///:memory:", "mysql://host/db"])
def test_a_url_of_no_usable_database_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ConfigError, match="write sqlite"):
        Ledger.open(url)


def test_a_database_that_does_not_answer_is_named_without_its_password(unused_port: int) -> None:
    with pytest.raises(LedgerUnavailable, match=f"127.0.0.1:{unused_port}") as raised:
        Ledger.open(f"postgresql://ann:secret@127.0.0.1:{unused_port}/sora")
    assert "secret" not in str(raised.value)


def test_leases_are_the_databases_time_and_no_hosts(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open(postgres.new_schema())
    held = claimed(ledger)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    ahead = Ledger.open(ledger.engine.url.render_as_string(hide_password=False))
    assert ahead.reclaim(3) == 0
    assert ahead.now() == pytest.approx(ledger.now(), abs=1.0)
    assert ahead.claim([put(ledger).id], "w2", LEASE_S)[0].started_at == pytest.approx(ledger.now(), abs=5.0)
    assert state(ledger, held) is Status.IN_PROGRESS
    ahead.close()
    ledger.close()


def test_a_restarted_postgres_keeps_every_job(postgres: Any, clock: Any) -> None:
    ledger = Ledger.open(postgres.url, clock)
    job = claimed(ledger)
    postgres.stop()
    with pytest.raises(LedgerUnavailable):
        ledger.renew({job.lease: 10}, LEASE_S)
    postgres.start()
    assert not ledger.renew({job.lease: 20}, LEASE_S).lost
    assert ledger.finish(job.lease, {"video": "uri"})
    assert state(ledger, job) is Status.COMPLETED
    ledger.close()


def test_failed_jobs_are_forgotten_after_a_time(ledger: Ledger, clock: Any) -> None:
    (job,) = ledger.create([new_job()])
    ledger.cancel(job.id)
    clock.forward(50.0)
    assert ledger.deleted(failed_for_s=60.0) == []
    clock.forward(20.0)
    assert [gone.id for gone in ledger.deleted(failed_for_s=60.0)] == [job.id]
    assert ledger.deleted() == []
