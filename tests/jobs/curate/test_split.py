"""Shots divide into clips that the autoencoder takes, in order, without overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.curate.split import divide

lengths = st.integers(0, 8).map(lambda k: 4 * k + 1)


@given(st.floats(0, 1e4), st.floats(0.01, 100), st.floats(1, 60), lengths, lengths)
def test_clips_lie_in_their_shot_one_after_another(start_s: float, length_s: float, fps: float, a: int, b: int) -> None:
    min_frames, max_frames = sorted((a, b))
    spans = divide(start_s, start_s + length_s, fps, max_frames, min_frames)
    available = max(1, int(length_s * fps + 1e-3))
    if available < min_frames:
        assert [span.frames for span in spans] == [available]
        return
    assert all(left.end_s <= right.start_s + 1e-6 for left, right in pairwise(spans))
    for span in spans:
        assert min_frames <= span.frames <= max_frames
        assert span.frames % 4 == 1
        assert span.end_s - span.start_s == pytest.approx(span.frames / fps, abs=1e-6)
        assert start_s <= span.start_s
        assert span.end_s <= start_s + length_s + 1e-2 / fps + 1e-6 or available == 1
    left_out = available - sum(span.frames for span in spans)
    assert 0 <= left_out < max(min_frames, 4)


def test_a_shot_of_exactly_one_clip_is_one_clip() -> None:
    [span] = divide(1.0, 1.0 + 17 / 8, 8, 17, 5)
    assert (span.start_s, span.frames) == (1.0, 17)
