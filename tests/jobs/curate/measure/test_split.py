"""Shots divide into clips that the autoencoder takes, in order, without overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.curate.measure.split import cut_out, divide

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


@pytest.mark.parametrize("sides", [(480, 640), (1080, 1920), (1920, 1080), (70, 640), (333, 517)])
@pytest.mark.parametrize("bars", [(0.0, 0.0, 0.0, 0.0), (0.125, 0.125, 0.0, 0.0), (0.0, 0.0, 0.2, 0.19)])
def test_a_cut_lies_between_the_bars_and_keeps_the_aspect(
    sides: tuple[int, int], bars: tuple[float, float, float, float]
) -> None:
    height, width = sides
    cut = cut_out(height, width, bars, 256 * 256)
    assert cut.height * cut.width <= 256 * 256
    assert cut.height % 16 == cut.width % 16 == 0
    assert cut.scaled_height / height == pytest.approx(cut.scaled_width / width, rel=0.03)
    assert 0 <= cut.top <= cut.top + cut.height <= cut.scaled_height
    assert 0 <= cut.left <= cut.left + cut.width <= cut.scaled_width
    # Nothing of a bar is left in, to a pixel of rounding, and no more than 16 pixels and one of rounding are lost.
    assert cut.top >= bars[0] * cut.scaled_height - 1
    assert cut.top + cut.height <= (1 - bars[1]) * cut.scaled_height + 1
    assert cut.height > (1 - bars[0] - bars[1]) * cut.scaled_height - 17
    assert cut.width > (1 - bars[2] - bars[3]) * cut.scaled_width - 17
