"""The rulebook of admission and step batching. No model, no cluster, no clock but the test's."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.video.scheduler import Candidate, Scheduler


def candidate(job_id: str, tokens: int = 10, owner: str = "ann", num_steps: int = 4, since: float = 0.0) -> Candidate:
    return Candidate(job_id, owner, tokens, num_steps, since)


def scheduler(budget: int = 100, max_jobs: int = 32, patience_s: float = 30.0) -> Scheduler:
    return Scheduler(budget, max_jobs=max_jobs, patience_s=patience_s)


def admit(subject: Scheduler, waiting: list[Candidate], now: float = 0.0) -> list[str]:
    """Admit and join at once, as when every claim is won."""
    chosen = subject.admit(waiting, now)
    for job in chosen:
        subject.join(job)
    return [job.id for job in chosen]


def test_jobs_join_in_the_order_of_the_queue_while_tokens_last() -> None:
    assert admit(scheduler(25), [candidate("a"), candidate("b"), candidate("c")]) == ["a", "b"]


def test_admission_is_a_decision_until_the_claim_is_won() -> None:
    subject = scheduler(10)
    assert [job.id for job in subject.admit([candidate("a"), candidate("b")], 0.0)] == ["a"]
    assert [job.id for job in subject.admit([candidate("b")], 0.0)] == ["b"]


def test_a_place_that_falls_free_is_filled_at_the_next_step() -> None:
    subject = scheduler(20)
    admit(subject, [candidate("a"), candidate("b")])
    assert admit(subject, [candidate("c")]) == []
    subject.leave("a")
    assert admit(subject, [candidate("c")]) == ["c"]
    assert subject.batch() == ["b", "c"]


def test_the_number_of_jobs_is_bounded_too() -> None:
    assert admit(scheduler(100, max_jobs=2), [candidate(name) for name in "abc"]) == ["a", "b"]


def test_jobs_of_many_sizes_and_lengths_share_a_step() -> None:
    subject = scheduler(100)
    admit(subject, [candidate("a", 60, num_steps=50), candidate("b", 5, num_steps=1), candidate("c", 35)])
    assert subject.batch() == ["a", "b", "c"]


def test_a_job_larger_than_the_budget_runs_alone() -> None:
    subject = scheduler(10)
    assert admit(subject, [candidate("big", 50), candidate("small", 5)]) == ["big"]
    assert subject.batch() == ["big"]


def test_small_jobs_overtake_one_that_does_not_fit_but_not_for_ever() -> None:
    subject = scheduler(20, patience_s=30)
    admit(subject, [candidate("running", 15)])
    queue = [candidate("big", 20), candidate("small", 5)]
    assert [job.id for job in subject.admit(queue, now=29.0)] == ["small"]
    assert subject.admit(queue, now=31.0) == []
    subject.leave("running")
    assert admit(subject, queue, now=32.0) == ["big"]


def test_a_key_with_many_jobs_does_not_delay_another_keys_one() -> None:
    subject = scheduler(20)
    flood = [candidate(f"a{index}") for index in range(50)]
    admit(subject, flood[:2])
    late = candidate("b", owner="bob", since=100.0)
    subject.leave("a0")
    assert admit(subject, [*flood[2:], late], now=100.0) == ["b"]


def test_a_raised_priority_counts_among_an_owners_own() -> None:
    """The queue shows a raised job before older ones; another owner's older job comes first all the same."""
    queue = [candidate("raised", since=9.0), candidate("old", since=5.0), candidate("other", owner="bob", since=1.0)]
    assert admit(scheduler(1000), queue) == ["other", "raised", "old"]


def test_shares_are_of_work_not_of_jobs() -> None:
    subject = scheduler(10)
    long_jobs = [candidate(f"long{index}", owner="ann", num_steps=30) for index in range(10)]
    short_jobs = [candidate(f"short{index}", owner="bob", num_steps=10) for index in range(30)]
    order: list[str] = []
    while len(order) < 20:
        (chosen,) = admit(subject, [*long_jobs, *short_jobs])
        order.append(chosen)
        subject.leave(chosen)
        long_jobs = [job for job in long_jobs if job.id != chosen]
        short_jobs = [job for job in short_jobs if job.id != chosen]
    assert sum(name.startswith("short") for name in order) == 15


def test_a_key_saves_up_no_credit_while_it_is_away() -> None:
    subject = scheduler(10)
    for index in range(20):
        admit(subject, [candidate(f"a{index}")])
        subject.leave(f"a{index}")
    queue = [candidate(f"x{index}") for index in range(4)] + [candidate(f"y{index}", owner="bob") for index in range(4)]
    first_four: list[str] = []
    for _ in range(4):
        (chosen,) = admit(subject, queue)
        first_four.append(chosen)
        subject.leave(chosen)
        queue = [job for job in queue if job.id != chosen]
    assert sorted(name[0] for name in first_four) == ["x", "x", "y", "y"]


def test_a_step_that_ran_out_of_memory_is_made_smaller_and_everybody_still_takes_turns() -> None:
    subject = scheduler(30)
    admit(subject, [candidate(name) for name in "abc"])
    assert subject.ran_out_of_memory(["a", "b", "c"]) == []
    assert subject.token_budget == 20
    steps = []
    for _ in range(3):
        steps.append(subject.batch())
        subject.stepped(steps[-1])
    assert steps == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_a_job_that_runs_out_of_memory_alone_is_given_up() -> None:
    subject = scheduler(30)
    admit(subject, [candidate("a", 30)])
    assert subject.ran_out_of_memory(["a"]) == ["a"]
    assert subject.token_budget == 30


def test_a_job_whose_deadline_is_over_neither_joins_nor_stays() -> None:
    subject = scheduler(100)
    late, early = replace(candidate("late"), deadline=10.0), replace(candidate("early"), deadline=20.0)
    assert admit(subject, [late, early], now=10.0) == ["early"]
    assert subject.overdue(now=19.0) == []
    assert subject.overdue(now=20.0) == ["early"]


def test_a_late_job_holds_up_nobody_behind_it() -> None:
    subject = scheduler(20, patience_s=0)
    admit(subject, [candidate("running", 15)])
    late = replace(candidate("late", 20), deadline=5.0)
    assert admit(subject, [late, candidate("small", 5)], now=30.0) == ["small"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_job_is_served_whatever_comes_after_it(seed: int) -> None:
    """No starvation: under endless random arrivals from three keys, each of the first jobs finishes in bounded time,
    and a step never holds more than the budget unless one job is larger than it."""
    rng = random.Random(seed)
    subject = scheduler(40, max_jobs=6, patience_s=10.0)
    waiting: list[Candidate] = []
    left: dict[str, int] = {}
    finished: set[str] = set()
    for now in range(600):
        if rng.random() < 0.5:
            job = candidate(f"j{now}", rng.choice([5, 10, 40, 60]), rng.choice("xyz"), rng.randint(1, 4), float(now))
            waiting.append(job)
        for job in subject.admit(waiting, float(now)):
            subject.join(job)
            left[job.id] = job.num_steps
            waiting.remove(job)
        batch = subject.batch()
        assert len(batch) <= 6
        subject.stepped(batch)
        for job_id in batch:
            left[job_id] -= 1
            if not left[job_id]:
                subject.leave(job_id)
                finished.add(job_id)
        if now < 20:
            early = {job.id for job in waiting} | set(subject.jobs)
    assert early <= finished


# --- several samplers, and jobs under suspicion


def test_claims_are_as_large_as_a_share_but_for_what_nobody_else_takes() -> None:
    waiting = [candidate(name) for name in "abcde"]
    subject = scheduler(100)
    assert [job.id for job in subject.admit(waiting, 0.0, share=25.0)] == ["a", "b", "c"]
    assert [job.id for job in subject.admit(waiting, 0.0, share=25.0, unclaimed={"e"})] == ["a", "b", "c", "e"]
    assert [job.id for job in subject.admit([candidate("big", 50)], 0.0, share=1.0)] == ["big"]


def test_a_sampler_leaves_its_last_job_to_an_idle_one_and_keeps_a_share() -> None:
    subject = scheduler(100)
    admit(subject, [candidate("a"), candidate("b"), candidate("c")])
    assert subject.surplus(15.0) == "c"
    subject.leave("c")
    assert subject.surplus(15.0) is None
    subject.leave("b")
    assert subject.surplus(1.0) is None


def test_a_job_whose_worker_died_shares_no_step_until_it_has_got_on() -> None:
    subject = scheduler(100, patience_s=5.0)
    suspect = replace(candidate("suspect", owner="eve"), alone=True)
    admit(subject, [candidate("a")])
    assert admit(subject, [suspect, candidate("b")]) == ["b"]
    assert admit(subject, [suspect, candidate("c")], now=6.0) == [], "the batch empties for it"
    subject.leave("a")
    subject.leave("b")
    assert admit(subject, [suspect, candidate("c")], now=6.0) == ["suspect"]
    assert admit(subject, [candidate("c")], now=6.0) == []
    subject.cleared("suspect")
    assert admit(subject, [candidate("c")], now=6.0) == ["c"]


def test_what_is_being_loaded_takes_room_and_no_steps() -> None:
    subject = scheduler(20)
    subject.join(candidate("a"), loading=True)
    admit(subject, [candidate("b"), candidate("c")])
    assert subject.batch() == ["b"]
    subject.loaded("a")
    assert subject.batch() == ["a", "b"]


def test_the_budget_comes_back_after_a_shortage_of_memory_and_later_after_the_next() -> None:
    subject = scheduler(100)
    waits = []
    for _ in range(2):
        for job_id in subject.jobs:
            subject.leave(job_id)
        admit(subject, [candidate(name, 50) for name in "ab"])
        subject.ran_out_of_memory(["a", "b"])
        assert subject.token_budget == 50
        waits.append(0)
        while subject.token_budget < 100:
            subject.stepped(["a"])
            waits[-1] += 1
    assert 100 < waits[0] < waits[1] < 2000
