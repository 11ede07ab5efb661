"""Laws of the steady clock and of pictures, on made files."""

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sora_core.errors import UnreadableMedia
from sora_core.media import (
    contact_sheet,
    decode_clip,
    decode_image,
    decode_transparency,
    encode_mp4,
    iter_frames,
    probe,
    write_thumbnail,
)
from sora_core.media.decode import resample
from sora_core.media.shots import detect

GREY = np.full((32, 32, 3), 128, np.uint8)


def steady(num_frames: int, fps: float) -> list[tuple[float, int]]:
    return [(i / fps, i) for i in range(num_frames)]


@given(st.integers(1, 60), st.floats(5, 60), st.integers(0, 40))
def test_a_steady_file_passes_unchanged(num_frames: int, fps: float, digits: int) -> None:
    """Also when its container rounds times to milliseconds."""
    times = [(round(time_s, 3) if digits % 2 else time_s, i) for time_s, i in steady(num_frames, fps)]
    assert list(resample(times, 0.0, math.inf, fps, fps)) == list(range(num_frames))


@given(st.integers(1, 60), st.floats(5, 60), st.floats(1, 60), st.floats(0, 2), st.floats(0.1, 3))
def test_no_frame_outside_the_span_is_shown(
    num_frames: int, source_fps: float, fps: float, start_s: float, length_s: float
) -> None:
    end_s = start_s + length_s
    shown = list(resample(steady(num_frames, source_fps), start_s, end_s, fps, source_fps))
    assert shown == sorted(shown)
    assert len(shown) <= math.ceil(length_s * fps + 1e-6)
    for tick, i in enumerate(shown):
        tick_s = start_s + tick / fps
        assert i / source_fps < end_s
        assert abs(i / source_fps - tick_s) <= 1 / source_fps + 1e-6 or i in (0, num_frames - 1)


def test_a_wild_clock_can_not_fill_the_memory() -> None:
    shown = list(resample([(0.0, "a"), (143_165.0, "b")], 0.0, math.inf, 30, 30))
    assert len(shown) <= 302
    assert shown[-1] == "b"


def test_a_size_is_in_the_viewers_orientation(tmp_path: Path) -> None:
    encode_mp4(tmp_path / "clip.mp4", [GREY] * 3, 8)
    assert decode_clip(tmp_path / "clip.mp4", size=(20, 10)).shape == (3, 20, 10, 3)


def test_small_frames_are_never_scaled_up(tmp_path: Path) -> None:
    encode_mp4(tmp_path / "clip.mp4", [GREY] * 3, 8)
    assert [frame.shape for _, frame in iter_frames(tmp_path / "clip.mp4", height=360)] == [(32, 32, 3)] * 3
    assert [frame.shape for _, frame in iter_frames(tmp_path / "clip.mp4", height=16)] == [(16, 16, 3)] * 3


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """A text file that names a video must not lead the decoder to it."""
    encode_mp4(tmp_path / "secret.mp4", [GREY] * 3, 8)
    for name, text in (
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableMedia) as caught:
            probe(tmp_path / name)
        assert caught.value.reason == "unreadable_container"


def test_an_unknown_codec_has_its_own_reason(tmp_path: Path) -> None:
    encode_mp4(tmp_path / "clip.mp4", [GREY] * 3, 8)
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "odd.mp4").write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(UnreadableMedia) as caught:
        probe(tmp_path / "odd.mp4")
    assert caught.value.reason == "unknown_codec"


def test_cuts_are_found_at_their_frame() -> None:
    rng = np.random.default_rng(0)
    takes = [cv2.resize(rng.integers(0, 255, (3, 4, 3), np.uint8), (96, 36)) for _ in range(3)]
    frames = [(i / 10, takes[i // 20][:, i % 20 :][:, :64]) for i in range(60)]
    assert detect(frames, 0.1) == [(0.0, 2.0), (2.0, 4.0), (4.0, pytest.approx(6.0))]


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(orientation: int) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (250, 0, 0)
    undo = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 1, 7: 1, 8: 3}[orientation]
    stored = np.rot90(upright, undo)
    if orientation in (2, 4, 5, 7):
        stored = stored[:, ::-1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(jpeg(Image.fromarray(np.ascontiguousarray(stored)), exif=exif, quality=95))
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 8


def test_a_cut_photograph_is_refused() -> None:
    whole = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    with pytest.raises(UnreadableMedia) as caught:
        decode_image(whole[: len(whole) // 2])
    assert caught.value.reason == "truncated_image"


def test_sixteen_bit_and_transparent_pictures_keep_their_look() -> None:
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(deep, "PNG")
    assert decode_image(deep.getvalue()).mean() == pytest.approx(40_000 / 256, abs=1)
    clear = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(clear, "PNG")
    assert decode_image(clear.getvalue()).min() == 255


@pytest.mark.parametrize("side", [12_000, 14_000])
def test_a_small_file_of_a_giant_picture_is_refused(side: int, tmp_path: Path) -> None:
    """Below and above the size from where on Pillow speaks of a bomb."""
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    for decode in (decode_image, decode_transparency, probe):
        with pytest.raises(UnreadableMedia, match="scale it down") as caught:
            decode(tmp_path / "bomb.png")
        assert caught.value.reason == "bad_dimensions"
    with pytest.raises(UnreadableMedia, match="64x64"):
        decode_image(jpeg(Image.new("RGB", (64, 64))), max_pixels=1000)


def test_a_contact_sheet_holds_every_frame_in_reading_order(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 6, 3), 10 * i, np.uint8) for i in range(1, 6)])
    sheet = contact_sheet(frames, columns=3)
    assert sheet.shape == (8, 18, 3)
    assert sheet[::4, ::6, 0].tolist() == [[10, 20, 30], [40, 50, 0]]
    write_thumbnail(tmp_path / "sheet.webp", sheet, max_side=9)
    assert decode_image(tmp_path / "sheet.webp").shape == (4, 9, 3)
