"""Every real file reads as its manifest says, or says why it can't."""

import csv
import re
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sora_core.errors import MissingObject, UnreadableMedia
from sora_core.media import decode_clip, decode_image, encode_mp4, iter_frames, probe
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
FRAMES = {  # that decode of each shipped video
    "a_bbb_square.webm": 90,
    "a_hdr10_av1_portrait.mp4": 127,
    "a_station_vfr.mp4": 932,
    "a_watch_blur.mp4": 167,
    "db_coin.mov": 242,
    "db_tree.avi": 68,
    "fx_cake_tall.webm": 240,
    "fx_lecture_room.ogg": 600,
    "fx_lego.webm": 166,
    "in_bottles.mp4": 1189,
    "mp_chaplin.mp4": 241,
    "oh_flower_720.264": 300,
    "oh_office_720.264": 19,
    "sl_two_flies.mp4": 1100,
}
WIDE_TALL = (36, 64)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix not in {".csv", ".md"})


@pytest.fixture(scope="session")
def expected_frames(collection: Path) -> dict[str, int]:
    """Frames that decode of each video; of those that aren't shipped, from the collection's manifest."""
    manifest = collection / "manifest.csv"
    if not manifest.exists():
        return FRAMES
    rows = csv.DictReader(manifest.read_text().splitlines())
    # The shared manifest was made with a build that lacked the VVC decoder.
    return {row["file"]: int(row["frames"]) for row in rows if row["codec"] != "vvc"} | FRAMES


def test_every_file_gives_pictures_or_a_reason(collection: Path, expected_frames: dict[str, int]) -> None:
    for path in files(collection):
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


def test_sizes_are_those_a_viewer_sees(collection: Path) -> None:
    for name in DISPLAYED.keys() & {path.name for path in files(collection)}:
        info = probe(collection / name)
        assert (info.width, info.height) == DISPLAYED[name], name
        frame = decode_clip(collection / name, max_frames=1)[0]
        assert frame.shape == (info.height, info.width, 3), name


def test_a_span_is_a_slice_of_the_whole(collection: Path) -> None:
    """Seeking changes nothing: damaged, unevenly timed and indexless files included."""
    for path in files(collection):
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


def cut(path: Path, share: float, folder: Path) -> Path:
    """The first bytes of a file, under a name of its own."""
    whole = path.read_bytes()
    part = folder / f"cut_{path.name}"
    part.write_bytes(whole[: int(share * len(whole))])
    return part


@pytest.mark.parametrize("made", [False, True])
def test_a_cut_file_gives_what_is_left(footage: Path, tmp_path: Path, made: bool) -> None:
    """A WebM, whose length is that of what is left, and an MP4 that begins with its index, which tells it all."""
    path = footage / "a_bbb_square.webm"
    if made:
        path = tmp_path / "made.mp4"
        encode_mp4(path, np.random.default_rng(0).integers(0, 255, (24, 64, 96, 3), np.uint8), 8)
    part = cut(path, 0.55, tmp_path)
    whole, left = (decode_clip(file, size=WIDE_TALL) for file in (path, part))
    lasts_s, lasted_s = probe(part).duration_s, probe(path).duration_s
    assert lasts_s is not None
    assert lasted_s is not None
    assert lasts_s == lasted_s if made else lasts_s < lasted_s
    assert 0.3 * len(whole) < len(left) < 0.7 * len(whole)


def test_files_without_pictures_say_why(footage: Path, tmp_path: Path) -> None:
    """One whose index stood at its end, and one of sound alone."""
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    reasons = {cut(footage / "mp_chaplin.mp4", 0.7, tmp_path): "unreadable_container", sound: "no_video_stream"}
    for path, reason in reasons.items():
        with pytest.raises(UnreadableMedia) as caught:
            probe(path)
        assert caught.value.reason == reason


def test_damaged_photographs_are_refused(footage: Path, tmp_path: Path) -> None:
    """Cut short, or with half of its picture missing before its end mark."""
    path = footage / "ph_tokyo.jpg"
    holed = tmp_path / "holed.jpg"
    holed.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\xff\xd9")
    reasons = {cut(path, 0.5, tmp_path): "truncated_image", holed: "damaged_image"}
    for damaged, reason in reasons.items():
        with pytest.raises(UnreadableMedia) as caught:
            decode_image(damaged)
        assert caught.value.reason == reason


def test_a_missing_file_is_no_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"gone\.mp4"):
        probe(tmp_path / "gone.mp4")
