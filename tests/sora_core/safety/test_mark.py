"""The mark: invisible, said by pixels alone, and never heard where there is none."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_core import media
from sora_core.safety import coding
from sora_core.safety.mark import MarkKey, mark_frames
from sora_core.safety.reading import FALSE_ALARM, read_mark

KEY, OTHER = MarkKey("k1", b"one secret"), MarkKey("k2", b"another")
IDENTITY = 0xC0FFEE123456
Frames = np.ndarray


@given(st.integers(0, 2**coding.ID_BITS - 1), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_an_id_survives_where_one_chip_in_fourteen_is_turned(identity: int, random: object) -> None:
    chips = coding.encode(identity).astype(float)
    turned = np.arange(0, len(chips), 14)  # further apart than the code's memory
    chips[turned] *= -1
    assert coding.decode(chips) == identity


def test_noise_says_no_id() -> None:
    noise = np.random.default_rng(0).standard_normal((100, coding.NUM_CHIPS))
    assert [coding.decode(chips) for chips in noise] == [None] * 100


@pytest.fixture(scope="module")
def scene() -> Frames:
    """A photograph's middle, seen by a camera that pans over it: what a standing pattern doesn't survive."""
    photo = media.decode_image(Path(__file__).parents[3] / "examples" / "footage" / "ph_london.jpg")
    scale = 420 / min(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.stack([photo[60 + i // 3 :, 20 + 2 * i :][:256, :256] for i in range(48)])


@pytest.fixture(scope="module")
def marked(scene: Frames) -> Frames:
    return np.stack(list(mark_frames(scene, KEY, IDENTITY)))


def coded(frames: Frames, folder: Path, crf: int, fps: float = 24.0) -> Frames:
    """What a viewer gets after H.264."""
    path = folder / f"{crf}.mp4"
    media.encode_mp4(path, iter(np.ascontiguousarray(frames)), fps, crf=crf)
    return media.decode_clip(path)


def scaled(frames: Frames, factor: float) -> Frames:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, None, fx=factor, fy=factor, interpolation=how) for frame in frames])


def test_the_mark_costs_less_than_40_db(scene: Frames, marked: Frames) -> None:
    errors = np.square(scene.astype(np.float64) - marked).mean(axis=(1, 2, 3))
    assert np.mean(10 * np.log10(255**2 / errors)) >= 40.0


ATTACKS: dict[str, Callable[[Frames, Path], Frames]] = {
    "crf 28": lambda frames, folder: coded(frames, folder, 28),
    "half the size, crf 23": lambda frames, folder: coded(scaled(frames, 0.5), folder, 23),
    "half the size and back": lambda frames, folder: coded(scaled(scaled(frames, 0.5), 2.0), folder, 23),
    "a crop of 10 %": lambda frames, folder: coded(frames[:, 12:242, 12:242], folder, 23),
    "every third frame dropped": lambda frames, folder: coded(np.delete(frames, np.s_[2::3], axis=0), folder, 23),
    "24 to 30 a second": lambda frames, folder: coded(frames[np.arange(60) * 4 // 5], folder, 23, 30.0),
    "contrast and brightness": lambda frames, folder: coded(
        np.clip((frames.astype(np.float32) - 128) * 1.2 + 133, 0, 255).astype(np.uint8), folder, 23
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_id_survives(attack: str, marked: Frames, tmp_path: Path) -> None:
    reading = read_mark(ATTACKS[attack](marked, tmp_path), [OTHER, KEY])
    assert reading is not None
    assert (reading.key, reading.identity) == ("k1", IDENTITY)
    assert reading.false_alarm <= FALSE_ALARM


def test_unmarked_frames_and_wrong_keys_say_nothing(scene: Frames, marked: Frames) -> None:
    wrong = [MarkKey(str(index), bytes([index])) for index in range(8)]
    assert read_mark(marked[:16], wrong) is None
    assert read_mark(scene, [KEY, OTHER]) is None


def test_a_picture_says_it_too(marked: Frames) -> None:
    photo = media.decode_image(Path(__file__).parents[3] / "examples" / "footage" / "ph_london.jpg")
    (picture,) = mark_frames([photo], KEY, 7)
    reading = read_mark([picture], [KEY])
    assert reading is not None
    assert reading.identity == 7


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 40), (33, 31)])
def test_a_picture_too_small_for_a_mark_is_marked_and_says_nothing(size: tuple[int, int]) -> None:
    frames = [np.full((*size, 3), 90, np.uint8)] * 2
    assert [frame.shape for frame in mark_frames(frames, KEY, 7)] == [(*size, 3)] * 2
    assert read_mark(frames, [KEY]) is None
