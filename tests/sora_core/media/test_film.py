"""Frames that are kept come back exactly; sound stays at its time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sora_core import media
from sora_core.errors import InputError, UnreadableMedia
from sora_core.shapes import PixelShape

HZ = media.SOUND_HZ


def noise(frames: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(5, 32, 48), (1, 17, 31)])
def test_a_kept_film_is_the_same_to_the_bit(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    frames = noise(*shape)
    assert media.write_film(tmp_path / "a.mkv", frames) == PixelShape(*shape)
    read = media.read_film(tmp_path / "a.mkv", tmp_path / "a.raw", PixelShape(*shape))
    assert np.array_equal(read, frames)


def test_of_a_film_only_the_wanted_frames_are_read(tmp_path: Path) -> None:
    frames = noise(40, 16, 16)
    shape = media.write_film(tmp_path / "a.mkv", frames)
    for wanted in (range(3), range(17, 30), range(39, 40)):
        read = media.read_film(tmp_path / "a.mkv", tmp_path / "a.raw", shape, wanted)
        assert np.array_equal(read[wanted.start : wanted.stop], frames[wanted.start : wanted.stop])
        assert not read[: wanted.start].any()
        assert not read[wanted.stop :].any()


def test_no_frames_and_damaged_films_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        media.write_film(tmp_path / "a.mkv", iter(()))
    (tmp_path / "b.mkv").write_bytes(b"nothing")
    with pytest.raises(UnreadableMedia, match="damaged"):
        media.read_film(tmp_path / "b.mkv", tmp_path / "b.raw", PixelShape(2, 16, 16))
    shape = media.write_film(tmp_path / "c.mkv", noise(2, 16, 16))
    with pytest.raises(UnreadableMedia, match="1 of 3 kept frames are gone"):
        media.read_film(tmp_path / "c.mkv", tmp_path / "c.raw", replace(shape, frames=3))


def beeps(seconds: float, *starts_s: float) -> np.ndarray:
    """Silence with a tone of a tenth of a second at each start."""
    samples = np.zeros((round(seconds * HZ), 2), np.int16)
    tone = 12_000 * np.sin(2 * np.pi * 1000 * np.arange(HZ // 10) / HZ)
    for start_s in starts_s:
        samples[round(start_s * HZ) :][: len(tone)] = tone[:, None]
    return samples


def onsets_s(samples: np.ndarray) -> list[float]:
    """When tones begin."""
    loud = np.abs(samples.astype(int)).max(axis=1)[: len(samples) // 480 * 480].reshape(-1, 480).max(axis=1) > 3000
    return [index / 100 for index in range(len(loud)) if loud[index] and not (index and loud[index - 1])]


@pytest.mark.parametrize(("start_s", "expected"), [(0.0, [0.5, 2.0, 3.5]), (1.5, [0.5, 2.0]), (2.5, [1.0])])
def test_sound_is_heard_when_its_frames_are_seen(tmp_path: Path, start_s: float, expected: list[float]) -> None:
    path = tmp_path / "a.mp4"
    media.encode_mp4(path, noise(40, 16, 16), fps=10, sound=beeps(4.0, 0.5, 2.0, 3.5))
    assert media.probe(path).has_audio
    heard = media.decode_sound(path, start_s, 4.0)
    assert heard is not None
    assert heard.shape == (round((4.0 - start_s) * HZ), 2)
    assert onsets_s(heard) == pytest.approx(expected, abs=0.021)


def test_a_file_without_sound_has_none(tmp_path: Path) -> None:
    media.encode_mp4(tmp_path / "a.mp4", noise(4, 16, 16), fps=10)
    assert media.decode_sound(tmp_path / "a.mp4", 0.0, 1.0) is None
