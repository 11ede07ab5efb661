"""What is kept of a film grows by a few numbers a frame."""

import tracemalloc

import numpy as np

from jobs.curate.measure.score import Meter
from jobs.curate.measure.track import Track, known
from sora_core.media import ShotFinder, StillFrame

# Five numbers a frame and 25 a sample, four of which are taken a second; arrays have room for as much again.
MOST_BYTES_A_FRAME = 160


def test_a_frame_leaves_few_bytes() -> None:
    pixels, fps = np.random.default_rng(0).integers(0, 256, (18, 32, 3), np.uint8), 24.0
    meter, finder = Meter(), ShotFinder(fps)

    def watch(first: int, end: int) -> None:
        for number in range(first, end):
            frame = StillFrame(number / fps, pixels)
            meter.add(frame)
            finder.add(frame.time_s, frame.rgb(72))

    watch(0, 1000)
    tracemalloc.start()
    try:
        watch(1000, 5000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 4000 * MOST_BYTES_A_FRAME
    assert len(meter.times_s) == 5000


def test_a_track_gives_a_span_or_what_is_nearest() -> None:
    track = Track("one", ("two", 2))
    assert len(track.inside(0, 9)) == 0
    for number in range(200):
        track.add(number / 4, one=number if number % 2 else None, two=(number, -number))
    inside = track.inside(10, 11)
    assert inside["time_s"].tolist() == [10, 10.25, 10.5, 10.75]
    assert known(inside["one"]).tolist() == [41, 43]
    assert inside["two"][0].tolist() == [40, -40]
    assert track.inside(10.3, 10.4)["time_s"].tolist() == [10.25]
    assert track.inside(99, 100)["time_s"].tolist() == [49.75]
