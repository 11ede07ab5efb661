"""Pictures stand upright, are whole and in the right colours, or are refused by name; made files."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sora_core.errors import UnreadableMedia
from sora_core.media import decode_clip, decode_image, decode_sound, play, probe
from sora_core.media.convert import Orientation, orientation_of
from tests.sora_core.media.made_files import SIDE, SOUND_HZ, TICKS, Made, joined, make, number_in

X264 = {"preset": "ultrafast", "crf": "20", "g": "8"}
ONE = 1 << 16


class Matrix:
    """A frame with a display matrix in its side data."""

    def __init__(self, a: int, b: int, c: int, d: int) -> None:
        self.side_data = {"DISPLAYMATRIX": struct.pack("=9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)}


EIGHT = [
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
    (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "c", "d"), EIGHT)
def test_each_of_eight_display_matrices_puts_pixels_where_it_says(a: int, b: int, c: int, d: int) -> None:
    stored = np.arange(6).reshape(2, 3)
    height, width = stored.shape if a else stored.shape[::-1]
    expected = np.empty((height, width), int)
    for y in range(2):
        for x in range(3):
            # About the middle of the pixels: (x, y) times the matrix.
            right, down = a * (2 * x - 2) + c * (2 * y - 1), b * (2 * x - 2) + d * (2 * y - 1)
            expected[(down + height - 1) // 2, (right + width - 1) // 2] = stored[y, x]
    assert orientation_of(Matrix(a, b, c, d)).upright(stored).tolist() == expected.tolist()


def test_a_frame_without_a_matrix_is_as_it_is_stored() -> None:
    frame = Matrix(1, 0, 0, 1)
    frame.side_data = {}
    assert orientation_of(frame) == Orientation()


def combing(frame: np.ndarray) -> float:
    """How much neighbouring lines differ more than those of the same field."""
    luma = frame.mean(axis=-1)
    return float(np.abs(np.diff(luma, axis=0)).mean() - np.abs(luma[2:] - luma[:-2]).mean())


def test_interlaced_video_is_made_whole(tmp_path: Path) -> None:
    import av

    moving = [np.roll(np.tile(np.repeat([20, 220], 16), 2), 8 * field) for field in range(24)]
    with av.open(str(tmp_path / "i.ts"), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options=X264 | {"x264-params": "tff=1"})
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for number in range(12):
            picture = np.empty((SIDE, SIDE, 3), np.uint8)
            picture[0::2] = moving[2 * number][None, :, None]
            picture[1::2] = moving[2 * number + 1][None, :, None]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert combing(picture) > 50
    frames = decode_clip(tmp_path / "i.ts")
    assert len(frames) == 12
    assert max(map(combing, frames[1:-1])) < 20
    with play(tmp_path / "i.ts") as (_, played):
        assert [round(frame.time_s * 25) for frame in played] == list(range(12))
    np.testing.assert_array_equal(decode_clip(tmp_path / "i.ts", 0.2, 0.4), frames[5:10])


def test_what_changes_its_size_keeps_its_shape(tmp_path: Path) -> None:
    parts = [
        make(tmp_path / f"{part}.ts", Made("mpegts", frames=10, first=100 * part, size=size, options=X264))
        for part, size in enumerate([(64, 128), (64, 64)])
    ]
    frames = decode_clip(joined(tmp_path / "both.ts", parts))
    assert frames.shape[1:] == (64, 128, 3)
    assert [number_in(frame) for frame in frames[:10]] == list(range(10))
    assert [number_in(frame[:, 32:96]) for frame in frames[10:]] == list(range(100, 110))
    assert frames[10:, :, :30].max() < 20
    with play(tmp_path / "both.ts") as (_, played):
        assert [frame.displayed for frame in played] == [(64, 128)] * 10 + [(64, 64)] * 10


def test_a_held_picture_lasts_and_a_damaged_clock_is_cut(tmp_path: Path) -> None:
    slides = make(tmp_path / "slides.mp4", Made(frames=4, gaps=[15 * TICKS] * 4, options=X264))
    assert [number_in(frame) for frame in decode_clip(slides, fps=1)] == [tick // 15 for tick in range(60)]
    screen = make(
        tmp_path / "screen.mkv", Made("matroska", frames=20, gaps=[3600] * 9 + [20 * TICKS] + [3600] * 10, options=X264)
    )
    shown = [number_in(frame) for frame in decode_clip(screen, fps=25)]
    assert (len(shown), shown.count(9)) == (9 + 500 + 10, 500)
    gaps = [3600] * 9 + [5000 * TICKS] + [3600] * 10
    leaps = make(tmp_path / "leaps.mp4", Made(frames=20, gaps=gaps, options=X264))
    assert [number_in(frame) for frame in decode_clip(leaps)] == list(range(20))
    assert probe(leaps).duration_s == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("format", "codec"), [("mpegts", "libx264"), ("vob", "mpeg2video")])
def test_the_sound_of_joined_files_stays_with_their_pictures(format: str, codec: str, tmp_path: Path) -> None:
    options = X264 if codec == "libx264" else {"g": "8"}
    parts = [
        make(
            tmp_path / f"{part}.bin",
            Made(format, codec, 25, 100 * part, start=start * TICKS, options=options, tone=True),
        )
        for part, start in enumerate([0, 500, 3])
    ]
    whole = joined(tmp_path / "whole.bin", parts)
    assert probe(whole).duration_s == pytest.approx(3.0, abs=0.15)
    for start_s, expected in ((0.0, [0.5, 1.5, 2.5]), (1.2, [0.3, 1.3])):
        heard = decode_sound(whole, start_s, 3.0)
        assert heard is not None
        assert heard.shape == (round((3.0 - start_s) * SOUND_HZ), 2)
        loud = np.abs(heard.astype(int)).max(axis=1)[: len(heard) // 480 * 480].reshape(-1, 480).max(axis=1) > 3000
        onsets = [index / 100 for index in range(1, len(loud)) if loud[index] and not loud[index - 1]]
        assert onsets == pytest.approx(expected, abs=0.1)


def test_a_photograph_is_shown_in_its_own_colours() -> None:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same with red and blue exchanged, and another name.
    tags = {plain[at : at + 4]: at for at in range(132, 132 + 12 * int.from_bytes(plain[128:132], "big"), 12)}
    data = bytearray(plain.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be")))
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = plain[blue + 4 : blue + 12], plain[red + 4 : red + 12]
    for mode, colour in (("RGB", (200, 30, 30)), ("RGBA", (200, 30, 30, 255))):
        shown = []
        for profile in (plain, bytes(data)):
            file = io.BytesIO()
            Image.new(mode, (8, 8), colour).save(file, "PNG", icc_profile=profile)
            shown.append(decode_image(file.getvalue())[0, 0].astype(int))
        assert np.abs(shown[0] - [200, 30, 30]).max() <= 1
        assert np.abs(shown[1] - [30, 30, 200]).max() <= 12
    half = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(half, "PNG")
    assert decode_image(half.getvalue())[0, 0].tolist() == pytest.approx([127] * 3, abs=1)


def test_what_would_show_something_else_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tiles.heic").write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1") + bytes(64))
    whole = make(tmp_path / "a.mp4", Made(frames=3, options=X264)).read_bytes()
    for profile, reason in ((5, "dolby_vision_5"), (8, None)):
        box = struct.pack(">I4sI4s5B", 21, b"free", 13, b"dvcC", 1, 0, profile << 1, 0x35, 0x10)
        (tmp_path / f"{profile}.mp4").write_bytes(whole + box)
        if reason is None:
            assert probe(tmp_path / f"{profile}.mp4").kind == "video"
            continue
        with pytest.raises(UnreadableMedia, match="Dolby Vision") as found:
            probe(tmp_path / f"{profile}.mp4")
        assert found.value.reason == reason
    with pytest.raises(UnreadableMedia, match="convert it to JPEG") as found:
        probe(tmp_path / "tiles.heic")
    assert found.value.reason == "heic_picture"
