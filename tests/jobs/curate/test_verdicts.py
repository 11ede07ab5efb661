"""Verdicts are pure: the first rule that applies gives the reason, and nothing else matters."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.curate.config import Thresholds
from jobs.curate.rows import SCORE_NAMES, Scores
from jobs.curate.verdicts import RULES, judge

THRESHOLDS = Thresholds(
    min_sharpness=0.1, min_luma=10, max_luma=240, min_contrast=5, min_motion=1, max_motion=100, max_frozen=0.5,
    max_shake=0.4, max_blockiness=0.05, max_quantiser=36, max_duplicated=0.1, max_text=0.02, max_indecency=0.8,
    min_aesthetic=5, max_watermark=0.5,
)  # fmt: skip
scores = st.builds(Scores, **{name: st.none() | st.floats(0, 300) for name in SCORE_NAMES})


@given(scores)
def test_the_first_rule_that_applies_gives_the_reason(found: Scores) -> None:
    alone = {judge(Scores(**{name: getattr(found, name)}), THRESHOLDS) for name in SCORE_NAMES}
    assert judge(found, THRESHOLDS) == next((reason for reason in RULES if reason in alone), None)


def test_a_black_picture_is_dark_before_it_is_flat_blurred_or_still() -> None:
    assert judge(Scores(0.0, 0.0, 0.0, 0.0, 1.0, 0.0), THRESHOLDS) == "too_dark"


def test_every_rule_can_be_the_reason() -> None:
    fine = {"sharpness": 0.5, "luma": 100.0, "contrast": 50.0, "motion": 5.0, "frozen": 0.0}
    damage = {
        "too_dark": {"luma": 1.0},
        "too_bright": {"luma": 255.0},
        "flat": {"contrast": 1.0},
        "blurred": {"sharpness": 0.01},
        "frozen": {"frozen": 0.9},
        "too_still": {"motion": 0.1},
        "too_fast": {"motion": 200.0},
        "shaky": {"shake": 1.0},
        "blocky": {"blockiness": 0.2},
        "coarsely_coded": {"quantiser": 40.0},
        "duplicated_frames": {"duplicated": 0.2},
        "text": {"text": 0.1},
        "indecent": {"indecency": 0.9},
        "unaesthetic": {"aesthetic": 4.0},
        "watermarked": {"watermark": 0.9},
    }
    assert judge(Scores(**fine), THRESHOLDS) is None
    assert {reason: judge(Scores(**fine | change), THRESHOLDS) for reason, change in damage.items()} == {
        reason: reason for reason in damage
    }
    assert list(damage) == list(RULES)


def test_the_unknown_is_no_reason() -> None:
    assert judge(Scores(), THRESHOLDS) is None
