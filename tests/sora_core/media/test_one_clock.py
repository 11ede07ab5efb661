"""What was scored is what is encoded: every way to a frame of a file agrees on when it is shown."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sora_core.media import Span, decode_clip, decode_spans, play
from sora_core.media.decode import resample
from tests.sora_core.media.made_files import (
    TICKS,
    Made,
    cut_by_edit_list,
    joined,
    make,
    number_in,
    without_stamps,
)

File = tuple[str, Callable[[Path], Path], list[int], list[float]]
SMALL = (32, 32)
X264 = {"preset": "ultrafast", "crf": "28"}
MPEG = ("mpeg2video", "mpeg1video", "mpeg4")
KINDS = (
    ("mp4", "libx264"), ("mp4", "mpeg4"), ("mov", "mjpeg"), ("matroska", "libx264"), ("matroska", "mpeg4"),
    ("webm", "libvpx"), ("mpegts", "libx264"), ("mpegts", "mpeg2video"), ("vob", "mpeg2video"),
    ("mpeg", "mpeg1video"), ("avi", "mpeg4"), ("avi", "libx264"), ("flv", "libx264"), ("h264", "libx264"),
    ("mpeg2video", "mpeg2video"), ("nut", "mpeg4"),
)  # fmt: skip


def seen(path: Path) -> tuple[list[tuple[float, int]], float, float]:
    """Times and numbers of all frames, in one pass; the mean rate and that at the densest."""
    with play(path) as (info, frames):
        found = [(frame.time_s, number_in(frame.rgb(SMALL[0]))) for frame in frames]
    assert info.fps is not None
    assert info.max_fps is not None
    return found, info.fps, info.max_fps


def numbers(frames: np.ndarray) -> list[int]:
    return [number_in(frame) for frame in frames]


def variants(draw: st.DrawFn) -> File:
    """A kind of file, how to make one in a folder, the numbers of its frames and when each is to be seen."""
    format, codec = draw(st.sampled_from(KINDS))
    options = {"g": str(draw(st.integers(1, 12)))}
    options |= X264 if codec == "libx264" else {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {}
    if codec in ("libx264", "mpeg2video", "mpeg4"):
        options["bf"] = str(draw(st.integers(0, 3)))
    if codec == "libx264" and draw(st.booleans()):
        options["x264-params"] = "open-gop=1"
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"

    def one(frames: int, first: int, start: int = 0, gaps: tuple[int, ...] = ()) -> Made:
        return Made(format, codec, frames, first, start=start, gaps=gaps, pix_fmt=pix_fmt, options=options)

    if format in ("mpegts", "vob", "mpeg"):
        lengths = draw(st.lists(st.integers(6, 30), min_size=1, max_size=3))
        starts = draw(st.lists(st.integers(0, 50) | st.just(7200), min_size=3, max_size=3))
        parts = [one(length, 100 * part, starts[part] * TICKS) for part, length in enumerate(lengths)]
        truth = [100 * part + number for part, length in enumerate(lengths) for number in range(length)]

        def many(folder: Path) -> Path:
            made = [make(folder / f"{number}.{format}", part) for number, part in enumerate(parts)]
            whole = joined(folder / "joined.film", made)
            return without_stamps(whole, "mpegts", 2) if format == "mpegts" and len(made) == 1 else whole

        return f"{format} {codec} {lengths} {starts} {options}", many, truth, [i / 25 for i in range(len(truth))]
    count = draw(st.integers(8, 60))
    gaps: tuple[int, ...] = ()
    # Not in MP4, whose edit FFmpeg may end before its last pictures where they are held long and stored out of order.
    lengths = [1, 2, 3, 7, 25, *([200, 400] if format == "matroska" else [])]
    if format in ("mp4", "mov", "matroska") and draw(st.booleans()):
        gaps = tuple(TICKS * draw(st.sampled_from(lengths)) // 25 for _ in range(count))
    left_out = draw(st.integers(0, 6)) if format in ("mp4", "mov") and not gaps else 0

    def single(folder: Path) -> Path:
        path = make(folder / f"a.{format}", one(count, 0, 0, gaps))
        return cut_by_edit_list(path, left_out, 25) if left_out else path

    times_s = [sum(gaps[:number]) / TICKS if gaps else number / 25 for number in range(count - left_out)]
    return f"{format} {codec} {count} {left_out} {gaps} {options}", single, list(range(left_out, count)), times_s


files = st.composite(variants)


# Files are made anew for each example: one that fails is small enough as it is.
@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(files(), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4), st.data())
def test_every_span_gives_exactly_the_frames_that_were_scored(
    file: File, places: list[tuple[float, float]], data: st.DataObject
) -> None:
    name, made, truth, due_s = file
    with tempfile.TemporaryDirectory() as folder:
        path = made(Path(folder))
        scored, fps, max_fps = seen(path)
        assert [number for _, number in scored] == truth, name
        times_s = [time_s for time_s, _ in scored]
        assert times_s == sorted(times_s), name
        # The parser of program streams puts the last picture of a part one frame late.
        assert times_s == pytest.approx(due_s, abs=0.125 if name.startswith(("vob", "mpeg ")) else 0.002), name
        rate = data.draw(st.sampled_from([fps, 8.0, 60.0]))
        end_s = times_s[-1]
        spans = sorted((min(pair) * end_s, min(min(pair) + 3, max(pair)) * end_s + 0.1) for pair in places)
        wanted = [Span(start_s, until_s, rate, SMALL, 40) for start_s, until_s in spans]
        for span, frames in zip(wanted, decode_spans(path, wanted), strict=True):
            assert span.end_s is not None
            expected = list(resample(scored, span.start_s, span.end_s, rate, max_fps, last_s=1 / fps))[:40]
            assert numbers(frames)[: len(expected)] == expected[: len(frames)], (name, span)
            assert abs(len(frames) - len(expected)) <= (span.end_s > end_s) * math.ceil(rate / fps), (name, span)
            if len(frames):
                alone = decode_clip(path, span.start_s, span.end_s, fps=rate, size=SMALL, max_frames=40)
                np.testing.assert_array_equal(alone, frames, err_msg=f"{name} {span}")
