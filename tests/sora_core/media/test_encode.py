"""What is encoded comes back, tagged, and starts before it is whole."""

from pathlib import Path

import av
import numpy as np
import pytest

from sora_core.errors import InputError
from sora_core.media import Mp4Writer, decode_clip, encode_mp4, probe


def moving_picture(frames: int, height: int, width: int) -> np.ndarray:
    """A smooth coloured pattern that drifts: easy on chroma subsampling, unlike noise."""
    t, y, x = np.mgrid[0:frames, 0:height, 0:width].astype(np.float32)
    waves = [np.sin((x + 3 * t) / 9), np.cos((y - 2 * t) / 11), np.sin((x + y + t) / 13)]
    return np.stack([(127 + 100 * wave).astype(np.uint8) for wave in waves], axis=-1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


@pytest.mark.parametrize(("frames", "height", "width", "fps"), [(9, 64, 96, 16.0), (1, 50, 34, 24000 / 1001)])
def test_frames_survive_the_round_trip(tmp_path: Path, frames: int, height: int, width: int, fps: float) -> None:
    path = tmp_path / "clip.mp4"
    clip = moving_picture(frames, height, width)
    encode_mp4(path, clip, fps, crf=10)
    back = decode_clip(path)
    assert back.shape == clip.shape
    assert psnr(back, clip) > 36
    assert abs(float(back.mean()) - float(clip.mean())) < 1
    info = probe(path)
    assert info.fps == pytest.approx(fps)
    assert info.duration_s == pytest.approx(frames / fps, rel=1e-3)


def test_the_file_says_its_colours_and_begins_with_its_index(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode_mp4(path, moving_picture(5, 32, 32), 8)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert container.streams.video[0].codec_context.codec.name == "h264"
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
        assert frame.format.name == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_streaming_equals_encoding_at_once(tmp_path: Path) -> None:
    clip = moving_picture(9, 32, 48)
    encode_mp4(tmp_path / "whole.mp4", clip, 8)
    with Mp4Writer(tmp_path / "parts.mp4", height=32, width=48, fps=8) as writer:
        writer.add(clip[:4])
        writer.add(clip[4])
        writer.add(clip[5:])
    np.testing.assert_array_equal(decode_clip(tmp_path / "whole.mp4"), decode_clip(tmp_path / "parts.mp4"))


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    clip = moving_picture(9, 96, 64)
    files = set()
    random = np.random.default_rng(0)
    for _ in range(30):
        held = [random.bytes(random.integers(1_000, 200_000)) for _ in range(5)]  # so that memory holds something else
        encode_mp4(tmp_path / "again.mp4", clip, 8)
        files.add((tmp_path / "again.mp4").read_bytes())
        del held
    assert len(files) == 1


def test_a_broken_off_file_never_gets_its_name(tmp_path: Path) -> None:
    clip = moving_picture(3, 32, 32)

    def half() -> None:
        with Mp4Writer(tmp_path / "clip.mp4", height=32, width=32, fps=8) as writer:
            writer.add(clip)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shape", "fps"), [((0, 32, 32, 3), 8), ((1, 31, 32, 3), 8), ((1, 32, 32, 3), 0)])
def test_impossible_clips_are_refused(tmp_path: Path, shape: tuple[int, ...], fps: float) -> None:
    with pytest.raises(InputError):
        encode_mp4(tmp_path / "clip.mp4", np.zeros(shape, np.uint8), fps)
    assert list(tmp_path.iterdir()) == []
