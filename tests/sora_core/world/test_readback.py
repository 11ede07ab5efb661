"""What is rendered is read back; what isn't there isn't."""

from collections import defaultdict
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sora_core.shapes import PixelShape
from sora_core.world import stories
from sora_core.world.readback import Reading, look, read, score
from sora_core.world.render import render
from sora_core.world.scene import DIRECTIONS, VOCABULARY, Attributes, Mix, Scene, Thing
from sora_core.world.words import sample

SIZES = [(64, 64), (64, 96), (96, 64), (48, 112), (112, 48), (80, 80), (128, 128)]
COUNTS = {1: 1.0, 2: 1.0, 3: 1.0}


def accuracy(clips: list[tuple[NDArray[np.uint8], Attributes]]) -> dict[str, float]:
    hits = defaultdict(list)
    for frames, truth in clips:
        for name, hit in score(read(frames), truth).items():
            hits[name].append(hit)
    return {name: float(np.mean(values)) for name, values in hits.items()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_the_truth_is_read_back(size: tuple[int, int], frames: int) -> None:
    mix = Mix({size: 1}, {frames: 1}, COUNTS)
    scenes = [sample(mix, seed, unseen=seed % 2 == 1) for seed in range(10)]
    found = accuracy([(render(scene), scene.attributes) for scene in scenes])
    assert set(found) == set(VOCABULARY) - ({"direction"} if frames == 1 else set())
    assert min(found.values()) >= 0.99


def noises(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames without objects: white, bell-shaped, or smooth and strong."""
    if kind == "white":
        return rng.integers(0, 256, shape, np.uint8)
    noise = rng.normal(128, 60, shape)
    if kind == "smooth":
        noise = np.stack([cv2.GaussianBlur(frame, (0, 0), 5) for frame in noise])
        noise = 128 + (noise - 128) * 8
    return noise.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["white", "bell", "smooth"])
def test_noise_is_read_no_better_than_chance(kind: str) -> None:
    rng = np.random.default_rng(0)
    mix = Mix({(64, 64): 1}, {9: 1}, COUNTS)
    truths = [sample(mix, seed).attributes for seed in range(80)]
    found = accuracy([(noises(kind, (9, 64, 64, 3), rng), truth) for truth in truths])
    for name, value in found.items():
        chance = 1 / len(VOCABULARY[name])
        assert value <= chance + 2 * (chance * (1 - chance) / len(truths)) ** 0.5  # two deviations of so many guesses


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_has_no_object(level: int) -> None:
    reading = read(np.full((9, 64, 64, 3), level, np.uint8))
    assert (reading.colour, reading.shape, reading.direction, reading.count) == (None, None, None, None)


def test_a_ground_alone_is_read_as_that_ground_and_nothing_else() -> None:
    # The top rows of a scene whose object lies at the bottom.
    scene = Scene(Attributes("red", "ball", "sand", "still"), PixelShape(9, 160, 64), 3)
    frames = render(scene)
    rows = np.flatnonzero(np.abs(frames[0].astype(int) - frames[0].mean((0, 1))).max((1, 2)) > 100)
    empty = frames[:, : rows.min() - 8] if rows.min() > 80 else frames[:, rows.max() + 8 :]
    assert read(empty) == Reading(colour=None, shape=None, background="sand", direction=None, count=None)


def test_a_clip_played_backwards_moves_the_other_way() -> None:
    opposite = dict(zip(DIRECTIONS, ("right", "left", "down", "up", "still"), strict=True))
    mix = Mix({(64, 64): 1}, {9: 1}, {1: 1})
    for seed in range(20):
        scene = sample(mix, seed)
        assert read(render(scene)[::-1]).direction == opposite[str(scene.attributes.direction)]


def test_a_mirrored_clip_swaps_left_and_right_only() -> None:
    opposite = dict(zip(DIRECTIONS, ("right", "left", "up", "down", "still"), strict=True))
    mix = Mix({(64, 64): 1}, {9: 1}, {1: 1})
    for seed in range(20):
        frames = render(sample(mix, seed))
        there, mirrored = read(frames), read(frames[:, :, ::-1])
        assert there.direction is not None
        assert mirrored.direction == opposite[there.direction]
        assert (mirrored.colour, mirrored.shape, mirrored.background) == (there.colour, there.shape, there.background)


def test_a_wrong_answer_is_a_miss_and_an_unknown_one_too() -> None:
    truth = Attributes("red", "ball", "grass", "left", 1)
    reading = Reading(colour="red", shape=None, background="sand", direction="left", count=2)
    expected = {"colour": True, "shape": False, "background": False, "count": False, "direction": True}
    assert score(reading, truth) == expected
    photograph = Attributes("red", "ball", "grass", None, 1)
    assert "direction" not in score(reading, photograph)


@pytest.mark.parametrize("kind", ["sized", "several", "event", "camera"])
def test_every_kind_of_scene_is_read_back(kind: str) -> None:
    hits = defaultdict(list)
    for number, size in enumerate(["64x64", "96x64", "112x48", "128x128"]):
        mix = Mix.parse({size: 1}, {9: 1, 33: 1, 1: 0.5}, {1: 1}, {kind: 1})
        for scene in [sample(mix, 10 * number + seed) for seed in range(4)]:
            for name, hit in stories.score(render(scene), scene.attributes).items():
                hits[name].append(hit)
    assert {"sized": "size", "several": "others", "event": "event", "camera": "camera"}[kind] in hits
    assert all(map(all, hits.values())), {name: float(np.mean(values)) for name, values in hits.items()}


def test_a_plain_clip_has_no_event_no_camera_and_one_thing() -> None:
    scene = Scene(Attributes("red", "ball", "sand", "left"), PixelShape(17, 64, 64), 3)
    told = replace(scene.attributes, event="bounces")
    looked = look(render(scene))
    assert stories.camera(looked) is None
    assert stories.things(looked) == [Thing("red", "ball", "left")]
    assert not stories.score(render(scene), told)["event"]
