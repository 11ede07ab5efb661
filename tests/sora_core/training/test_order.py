from collections import Counter

import numpy as np
import pytest

from sora_core.errors import InputError
from sora_core.training.order import Ints, Order, Pool


def pool(first: int, clips: int, rows: int = 8, weight: float = 1.0) -> Pool:
    """Clips from ``first`` on, in groups of ``rows``; the last group may be smaller."""
    return Pool(np.unique(np.append(np.arange(first, first + clips, rows), first + clips)), weight)


def met(order: Order, passes: int = 1) -> Ints:
    return np.concatenate([order.clips(window) for window in range(passes * order.windows_per_pass)])


@pytest.mark.parametrize(("clips", "window"), [(1000, 100), (1000, 5000), (1003, 97), (5, 2), (1, 1)])
def test_a_pass_meets_every_clip_once(clips: int, window: int) -> None:
    order = Order([pool(0, clips)], 3, window)
    for passes in (1, 2, 5):
        assert set(Counter(met(order, passes).tolist()).values()) == {passes}


def test_a_window_reads_few_groups_and_keeps_them_whole() -> None:
    order = Order([pool(0, 8000)], 3, 400)
    for window in (0, 7, 19):
        clips = order.clips(window)
        assert len(clips) == 400
        assert len(np.unique(clips // 8)) == 50
    neighbours = np.abs(np.diff(order.clips(0)))
    assert np.median(neighbours) > 1000, "clips of a group, and groups, are mixed"


def test_any_window_is_made_alone_and_passes_differ() -> None:
    one, other = Order([pool(0, 640)], 3, 100), Order([pool(0, 640)], 3, 100)
    later = other.clips(12)
    assert [one.clips(window).tolist() for window in range(13)][12] == later.tolist()
    per_pass = one.windows_per_pass
    assert one.clips(0).tolist() != one.clips(per_pass).tolist()
    assert Order([pool(0, 640)], 4, 100).clips(0).tolist() != one.clips(0).tolist()


def test_clips_are_met_as_often_as_their_pool_weighs() -> None:
    order = Order([pool(0, 800, weight=3.0), pool(800, 1600, weight=0.5), pool(2400, 800)], 3, 300)
    count = Counter(met(order, passes=4).tolist())
    rate = [np.mean([count[clip] for clip in clips]) for clips in (range(800), range(800, 2400), range(2400, 3200))]
    assert rate[0] / rate[2] == pytest.approx(3.0, rel=0.01)
    assert rate[1] / rate[2] == pytest.approx(0.5, rel=0.01)
    assert sum(count.values()) == pytest.approx(4 * 3200, rel=0.01)
    spread = [count[clip] for clip in range(800)]
    assert max(spread) - min(spread) <= 1, "a heavy pool comes round evenly"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6, 1.0])
def test_stills_are_met_in_the_share_asked_for(share: float) -> None:
    stills = np.random.default_rng(0).random(6000) < 0.25
    order = Order([pool(0, 6000)], 3, 500, stills, share)
    clips = met(order)
    assert stills[clips].mean() == pytest.approx(share, abs=0.02)
    assert len(np.unique(clips)) == len(clips)
    kept_whole = stills if share > 0.25 else ~stills
    if share != 0.25:
        assert set(np.flatnonzero(kept_whole)) <= set(clips.tolist()), "only the kind that is too frequent is thinned"


def test_what_one_pass_leaves_out_another_meets() -> None:
    stills = np.random.default_rng(0).random(2000) < 0.1
    order = Order([pool(0, 2000)], 3, 500, stills, 0.3)
    assert len(np.unique(met(order, passes=60))) == 2000


def test_a_share_is_of_what_is_met_not_of_what_there_is() -> None:
    stills = np.arange(2000) < 500
    order = Order([pool(0, 1000, weight=4.0), pool(1000, 1000)], 3, 300, stills, 0.2)
    assert stills[met(order, passes=3)].mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("stills", "share", "missing"), [(0, 0.5, "stills"), (10, 0.5, "clips that move")])
def test_a_share_of_what_is_not_there_is_refused(stills: int, share: float, missing: str) -> None:
    with pytest.raises(InputError, match=f"image_share = 0.5, but the data has no {missing}"):
        Order([pool(0, 10)], 3, 100, np.arange(10) < stills, share)
