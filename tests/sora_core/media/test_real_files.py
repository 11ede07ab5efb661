"""Every real file reads as its manifest says, or says why it can't."""

import csv
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sora_core.errors import MissingObject, UnreadableMedia
from sora_core.media import decode_clip, decode_image, iter_frames, probe
from sora_core.media.stream import timed_frames

# From the notes of the shared manifest: what these files hold that can't be seen.
UNREADABLE = {
    "a_audio_only.mp4": "no_video_stream",
    "a_fragmented_baddur.mp4": "no_decodable_frames",
    "fx_timescale0.mp4": "no_decodable_frames",
    "fx_truncated.ogv": "unreadable_container",
    "zz_empty.avi": "empty_file",
    "zz_trunc_nomoov.mp4": "unreadable_container",
}
DISPLAYED = {  # (width, height), rotation and pixel aspect applied
    "a_roof_hevc_portrait.mp4": (1080, 1920),
    "a_4k60_wall.mp4": (2160, 3840),
    "a_dog_rot270.mp4": (720, 1280),
    "mp_fire_dog.mp4": (1280, 720),
    "sd_museum_cuts.mp4": (1024, 576),
    "fx_van_sar.mp4": (525, 288),
    "fx_lecture_room.ogg": (441, 240),
    "a_hdr10_av1_portrait.mp4": (720, 1280),
}
WIDE_TALL = (36, 64)


def files(footage: Path) -> list[Path]:
    return sorted(path for path in footage.iterdir() if path.suffix not in {".csv", ".md"})


@pytest.fixture(scope="session")
def expected_frames(footage: Path) -> dict[str, int]:
    """Frames that decode of each video, from the shared manifest; the shipped selection has none."""
    manifest = footage / "manifest.csv"
    if not manifest.exists():
        return {}
    rows = csv.DictReader(manifest.read_text().splitlines())
    # The shared manifest was made with a build that lacked the VVC decoder.
    return {row["file"]: int(row["frames"]) for row in rows if row["codec"] != "vvc"}


def test_every_file_gives_pictures_or_a_reason(footage: Path, expected_frames: dict[str, int]) -> None:
    for path in files(footage):
        if path.name in UNREADABLE:
            with pytest.raises(UnreadableMedia, match=re.escape(path.name)) as caught:
                probe(path)
            assert caught.value.reason == UNREADABLE[path.name], path.name
            continue
        info = probe(path)
        assert info.width > 0
        assert info.height > 0
        if info.kind == "video":
            times = [time_s for _, time_s, _ in timed_frames(path)]
            assert times == sorted(times), path.name
            assert len(times) == expected_frames.get(path.name, len(times)), path.name


def test_sizes_are_those_a_viewer_sees(footage: Path) -> None:
    for name in DISPLAYED.keys() & {path.name for path in files(footage)}:
        info = probe(footage / name)
        assert (info.width, info.height) == DISPLAYED[name], name
        frame = decode_clip(footage / name, max_frames=1)[0]
        assert frame.shape == (info.height, info.width, 3), name


def test_a_span_is_a_slice_of_the_whole(footage: Path) -> None:
    """Seeking changes nothing: damaged, unevenly timed and indexless files included."""
    for path in files(footage):
        if path.stat().st_size > 600_000 or path.name in UNREADABLE or probe(path).kind == "image":
            continue
        whole = decode_clip(path, fps=8, size=WIDE_TALL)
        start = len(whole) // 2
        start_s = start / 8
        if start_s <= 1.0 or path.name == "fx_crash_vp9.webm":
            continue
        part = decode_clip(path, start_s, start_s + 1, fps=8, size=WIDE_TALL)
        np.testing.assert_array_equal(part, whole[start : start + 8], err_msg=path.name)


def test_uneven_frame_times_are_kept(footage: Path) -> None:
    """68 stored frames of 29.6 s: each is held until the next one's time."""
    path = footage / "db_tree.avi"
    stored = list(iter_frames(path, height=60))
    steady = decode_clip(path, fps=15, size=(60, 80))
    assert len(stored) == 68
    assert len(steady) == pytest.approx(29.6 * 15, abs=2)
    changes = 1 + sum(not np.array_equal(a, b) for a, b in pairwise(steady))
    assert changes == 68


def test_a_cut_file_gives_what_is_left(footage: Path) -> None:
    path = footage / "zz_trunc_basketball.mp4"
    if not path.exists():
        pytest.skip("only the large collection has it")
    claimed_s = probe(path).duration_s
    clip = decode_clip(path, size=WIDE_TALL)
    assert claimed_s is not None
    assert len(clip) == 180 < claimed_s * 29.97


def test_damaged_photographs_are_refused(footage: Path) -> None:
    path = footage / "ph_broken.jpg"
    if not path.exists():
        pytest.skip("only the large collection has it")
    with pytest.raises(UnreadableMedia) as caught:
        decode_image(path)
    assert caught.value.reason == "damaged_image"


def test_a_missing_file_is_no_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"gone\.mp4"):
        probe(tmp_path / "gone.mp4")
