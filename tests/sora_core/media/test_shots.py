"""Shots: dissolves and fades belong to none, a flash ends none, and doubt goes to the arbiter."""

import cv2
import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from sora_core.media.cuts import CutFinder
from sora_core.media.shots import ARBITER_FRAMES, ShotFinder

FPS = 25.0


def scenes(count: int, frames: int = 40) -> list[np.ndarray]:
    """Scenes of sharp patches, each still but for a little noise."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(count):
        scene = cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), (128, 72), interpolation=cv2.INTER_NEAREST)
        noise = rng.integers(0, 4, (frames, *scene.shape))
        found.append(np.clip(scene + noise, 0, 255).astype(np.uint8))
    return found


def shots_of(frames: np.ndarray, finder: ShotFinder | None = None) -> list[tuple[int, int]]:
    finder = finder or ShotFinder(FPS)
    for number, frame in enumerate(frames):
        finder.add(number / FPS, frame)
    return [(round(start_s * FPS), round(end_s * FPS)) for start_s, end_s in finder.shots(1 / FPS)]


def mixed(before: np.ndarray, after: np.ndarray, length: int) -> np.ndarray:
    share = ((np.arange(length) + 1) / (length + 1))[:, None, None, None]
    return (before[-length:] * (1 - share) + after[:length] * share).astype(np.uint8)


@pytest.mark.parametrize("length", [8, 20, 36])
def test_a_dissolve_belongs_to_neither_shot(length: int) -> None:
    first, second = scenes(2)
    film = np.concatenate([first, mixed(first, second, length), second])
    [before, after] = shots_of(film)
    assert before[0] == 0
    assert before[1] == pytest.approx(40, abs=2 + length // 8)
    assert after[0] == pytest.approx(40 + length, abs=2 + length // 8)
    assert after[1] == len(film)


def test_a_fade_from_black_is_trimmed() -> None:
    [scene] = scenes(1, 60)
    black = np.zeros_like(scene[:6])
    film = np.concatenate([black, mixed(np.zeros_like(scene), scene, 16), scene])
    assert shots_of(film)[-1] == (pytest.approx(22, abs=3), len(film))


def test_a_flash_ends_no_shot() -> None:
    [scene] = scenes(1)
    scene[20:22] = np.clip(scene[20:22].astype(int) + 150, 0, 255)
    assert shots_of(scene) == [(0, 40)]


def test_a_whole_film_in_transition_is_one_shot_all_the_same() -> None:
    first, second = scenes(2, 30)
    assert len(shots_of(mixed(first, second, 30))) == 1


@pytest.mark.parametrize(("answer", "num_shots"), [(0.0, 1), (1.0, 2)])
def test_the_arbiter_decides_what_is_in_doubt(answer: float, num_shots: int) -> None:
    [scene] = scenes(1, 30)
    # Another colour and much the same light: a jump far smaller than between two scenes.
    film = np.concatenate([scene, scene[..., ::-1]])
    asked = []

    def arbiter(frames: np.ndarray) -> np.ndarray:
        asked.append(frames.shape)
        return np.full(len(frames), answer)

    assert len(shots_of(film, ShotFinder(FPS, arbiter))) == num_shots
    assert asked == [(ARBITER_FRAMES, 27, 48, 3)]


def test_cuts_in_quick_succession_are_all_found() -> None:
    film = np.concatenate(scenes(9, 5))
    assert shots_of(film) == [(start, start + 5) for start in range(0, 45, 5)]


def test_a_slow_change_is_no_longer_a_transition_than_the_arbiter_says() -> None:
    """Four seconds that change all the time, as a sky does that a camera follows a bird through, after a fade."""
    one, other = (scene[0].astype(np.float32) - 128 for scene in scenes(2, 1))
    angles = np.linspace(0, 4, 100)[:, None, None, None]
    film = (128 + 0.7 * (np.cos(angles) * one + np.sin(angles) * other)).astype(np.uint8)

    def arbiter(frames: np.ndarray) -> np.ndarray:
        probability = np.zeros(len(frames))
        probability[20:28] = 1.0
        return probability

    [before, after] = shots_of(film, ShotFinder(FPS, arbiter))
    assert before == (0, pytest.approx(20, abs=4))
    assert after == (before[1] + 8, len(film))
    assert shots_of(film) == [(0, len(film))]


def test_cuts_are_those_of_pyscenedetect() -> None:
    """Scenes of all lengths with more and less noise, so that many changes lie near the rule's limits."""
    rng = np.random.default_rng(0)
    film = []
    for _ in range(60):
        scene = cv2.resize(rng.integers(0, 120, (9, 16, 3), np.uint8), (64, 36), interpolation=cv2.INTER_NEAREST)
        noise = rng.integers(0, rng.integers(1, 90), (rng.integers(1, 14), *scene.shape))
        film += list(np.clip(scene + noise, 0, 255).astype(np.uint8))
    ours, peer = CutFinder(min_shot_frames=6), AdaptiveDetector(min_scene_len=6)
    found = [cut for cut in (ours.add(frame) for frame in film) if cut is not None]
    expected = [
        cut.frame_num
        for number, frame in enumerate(film)
        for cut in peer.process_frame(FrameTimecode(number, fps=FPS), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    ]
    assert found == expected
    assert 10 < len(found) < 50
