from itertools import islice, takewhile

import numpy as np
import pytest

from sora_core.errors import InputError
from sora_core.training.plan import Ints, Plan, PlannedStep, PlanRules, Position, Stage, best_fit
from sora_core.training.references import NONE, References

BUDGET = 8192
RULES = PlanRules(seed=3, pack_tokens=BUDGET, packs_per_step=4, linear_work=13_568.0)


def realistic_lengths(clips: int) -> Ints:
    """Stills and films of many sizes; most are short, a few nearly fill a pack."""
    rng = np.random.default_rng(0)
    frames = rng.choice([1, 5, 9, 17], p=[0.3, 0.3, 0.25, 0.15], size=clips)
    return np.minimum(frames * rng.integers(4, 32, clips) * rng.integers(4, 32, clips), BUDGET).astype(np.int64)


def one_pass(plan: Plan) -> list[PlannedStep]:
    """The steps of the windows in which every clip is met once."""
    return list(takewhile(lambda planned: planned.window < plan.orders[None].windows_per_pass, plan.steps()))


def flat(steps: list[PlannedStep]) -> list[list[list[int]]]:
    return [[pack.tolist() for pack in planned.packs] for planned in steps]


LENGTHS = realistic_lengths(6000)


def test_no_pack_exceeds_its_budget_and_nearly_all_of_it_is_real_tokens() -> None:
    steps = one_pass(Plan(LENGTHS, RULES))
    fills = np.array([LENGTHS[pack].sum() / BUDGET for planned in steps for pack in planned.packs])
    assert fills.max() <= 1
    assert fills.mean() >= 0.99


def test_the_packs_of_a_step_are_like_work() -> None:
    ratios = [max(planned.work) / np.mean(planned.work) for planned in one_pass(Plan(LENGTHS, RULES))]
    assert np.mean(ratios) <= 1.02


def test_every_clip_is_met_once_a_pass_and_few_more_often() -> None:
    met = np.concatenate([pack for planned in one_pass(Plan(LENGTHS, RULES)) for pack in planned.packs])
    assert set(met.tolist()) == set(range(len(LENGTHS)))
    assert len(met) <= 1.02 * len(LENGTHS)


def test_any_number_of_workers_shares_all_packs_of_a_step() -> None:
    for planned in islice(Plan(LENGTHS, RULES).steps(), 5):
        for workers in (1, 2, 3, 4, 6):
            shares = planned.share(workers)
            assert sorted(pack for share in shares for pack in share) == [0, 1, 2, 3]
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_slots_number_the_clips_of_a_step_without_gap() -> None:
    planned = next(Plan(LENGTHS, RULES).steps())
    slots = [
        first + i for first, pack in zip(planned.first_slots, planned.packs, strict=True) for i in range(len(pack))
    ]
    assert slots == list(range(planned.num_clips))


def test_a_plan_taken_up_anywhere_goes_on_as_if_never_left() -> None:
    plan = Plan(LENGTHS[:300], RULES)
    steps = list(islice(plan.steps(), 90))
    assert steps[-1].window >= 2
    for done in (0, 1, 17, 18, 19, 60):
        position = steps[done].after
        assert position.clips == sum(planned.num_clips for planned in steps[: done + 1])
        resumed = list(islice(Plan(LENGTHS[:300], RULES).steps(position), 5))
        assert flat(resumed) == flat(steps[done + 1 : done + 6])
        assert [planned.step for planned in resumed] == [planned.step for planned in steps[done + 1 : done + 6]]


def test_another_seed_or_pass_is_another_order() -> None:
    plan = Plan(LENGTHS, RULES)
    other = Plan(LENGTHS, PlanRules(4, BUDGET, 4, 13_568.0))
    assert flat(list(islice(plan.steps(), 3))) != flat(list(islice(other.steps(), 3)))
    first, second = plan.window(0), plan.window(1)
    assert [pack.tolist() for pack in first.packs] != [pack.tolist() for pack in second.packs]
    assert first.clips.tolist() != second.clips.tolist()


def test_fewer_clips_than_a_step_needs_are_met_again_until_it_is_full() -> None:
    plan = Plan(np.array([100, 200, 300]), RULES)
    planned = next(plan.steps())
    assert all(sum((100, 200, 300)[clip] for clip in pack) > 0.95 * BUDGET for pack in planned.packs)


def test_clips_that_fit_nothing_else_do_not_pile_up() -> None:
    lengths = np.full(5000, int(0.6 * BUDGET))
    packs = best_fit(lengths, BUDGET)
    assert all(len(pack) == 1 for pack in packs)
    met = np.concatenate([pack for planned in one_pass(Plan(lengths, RULES)) for pack in planned.packs])
    assert len(met) == 5000


def test_best_fit_puts_a_clip_into_the_fullest_pack_with_room() -> None:
    packs = best_fit(np.array([6, 5, 4, 3]), 10)
    assert sorted(sorted(pack.tolist()) for pack in packs) == [[0, 2], [1, 3]]


FRAMES = np.where(LENGTHS % 5 == 0, 5, 1)
SUBJECTS = np.arange(len(LENGTHS)) // 3
SUBJECTS[:300] = len(LENGTHS) + np.arange(300)  # alone with theirs


def with_references(share: float = 0.3) -> Plan:
    return Plan(LENGTHS, RULES, references=References(SUBJECTS, LENGTHS, FRAMES, share, RULES.seed))


def test_packs_hold_their_budget_with_the_references_of_their_clips() -> None:
    steps = one_pass(with_references())
    for planned in steps:
        for pack, (other, frames), lengths in zip(planned.packs, planned.references, planned.lengths, strict=True):
            added = np.where(other == NONE, 0, frames * (LENGTHS // FRAMES)[other])
            assert (lengths == LENGTHS[pack] + added).all()
            assert lengths.sum() <= BUDGET
    assert np.mean([planned.num_tokens / BUDGET / 4 for planned in steps]) >= 0.99
    met = np.concatenate([pack for planned in steps for pack in planned.packs])
    assert set(met.tolist()) == set(range(len(LENGTHS)))


def test_a_reference_is_another_clip_of_the_same_subject_at_the_stated_share() -> None:
    pairs = np.array(
        [
            (clip, other, frames)
            for planned in one_pass(with_references())
            for pack, (others, counts) in zip(planned.packs, planned.references, strict=True)
            for clip, other, frames in zip(pack, others, counts, strict=True)
        ]
    )
    clip, other, frames = pairs[pairs[:, 1] != NONE].T
    assert (SUBJECTS[clip] == SUBJECTS[other]).all()
    assert (clip != other).all()
    assert ((frames >= 1) & (frames <= FRAMES[other])).all()
    assert set(frames[FRAMES[other] == 5].tolist()) == {1, 2, 3, 4, 5}
    assert clip.min() >= 300
    assert len(clip) / (pairs[:, 0] >= 300).sum() == pytest.approx(0.3, abs=0.03)  # less for clips that fill a pack


def test_references_are_a_function_of_seed_and_step_and_leave_other_plans_as_they_are() -> None:
    steps = list(islice(with_references().steps(), 8))
    resumed = list(islice(with_references().steps(steps[3].after), 4))
    for planned, again in zip(steps[4:], resumed, strict=True):
        assert np.array_equal(np.concatenate(planned.references, 1), np.concatenate(again.references, 1))
    assert flat(list(islice(with_references(share=0.0).steps(), 8))) == flat(
        list(islice(Plan(LENGTHS, RULES).steps(), 8))
    )


def test_a_clip_longer_than_a_pack_is_refused_with_numbers() -> None:
    with pytest.raises(InputError, match=f"pack_tokens = {BUDGET}, the longest has {BUDGET + 1}"):
        Plan(np.array([5, BUDGET + 1]), RULES)


def test_no_clips_are_refused() -> None:
    with pytest.raises(InputError, match="no clip to train on"):
        Plan(np.zeros(0, np.int64), RULES)


def test_the_start_is_before_the_first_step() -> None:
    planned = next(Plan(LENGTHS, RULES).steps())
    assert planned.step == 1
    assert planned.after == Position(1, 0, 0, planned.num_clips)


def test_stages_meet_their_share_of_stills_and_resume_where_they_stood() -> None:
    stills = np.arange(400) % 2 == 0
    lengths = np.where(stills, 16, 80)
    stages = (Stage(5, 1.0), Stage(9, 0.0))
    rules = PlanRules(3, 160, 2, 72.0, window_clips=64, image_share=0.5, stages=stages)
    plan = Plan(lengths, rules, stills=stills)
    steps = list(islice(plan.steps(), 30))
    shares = [float(stills[np.concatenate(step.packs)].mean()) for step in steps]
    assert shares[:5] == [1.0] * 5
    assert shares[5:9] == [0.0] * 4
    assert 0 < np.mean(shares[9:]) < 1
    for cut in (3, 5, 7, 9, 11):  # also exactly where a stage ends
        rest = list(islice(plan.steps(steps[cut - 1].after), len(steps) - cut))
        assert flat(rest) == flat(steps[cut:])
