"""One scene is one clip, to the pixel, and what a caption leaves open varies."""

from dataclasses import replace

import numpy as np
import pytest

from sora_core.shapes import PixelShape
from sora_core.world.render import render
from sora_core.world.scene import Attributes, Mix, Scene
from sora_core.world.words import sample

MIX = Mix({(64, 64): 1, (48, 112): 1}, {1: 1, 9: 1}, {1: 1, 3: 1})


def test_the_same_scene_has_the_same_pixels() -> None:
    for seed in range(10):
        np.testing.assert_array_equal(render(sample(MIX, seed)), render(sample(MIX, seed)))


def test_pixels_have_the_scene_s_shape() -> None:
    for seed in range(20):
        scene = sample(MIX, seed)
        frames = render(scene)
        assert frames.shape == (scene.size.frames, scene.size.height, scene.size.width, 3)
        assert frames.dtype == np.uint8


def test_seeds_vary_what_the_caption_leaves_open() -> None:
    attributes = Attributes("red", "ball", "grass", "left")
    clips = [render(Scene(attributes, PixelShape(5, 64, 64), seed)) for seed in range(12)]
    for number, clip in enumerate(clips):
        assert all((clip != other).mean() > 0.5 for other in clips[:number])


@pytest.mark.parametrize("attribute", [{"colour": "blue"}, {"background": "snow"}, {"direction": "up"}])
def test_a_seed_keeps_the_rest_when_one_attribute_changes(attribute: dict[str, str]) -> None:
    scene = Scene(Attributes("red", "ball", "grass", "still"), PixelShape(9, 64, 64), 5)
    other = replace(scene, attributes=replace(scene.attributes, **attribute))
    changed = (render(scene) != render(other)).any(-1).mean()
    assert changed > 0
    if "colour" in attribute:
        assert changed < 0.3  # the object alone


def test_a_still_scene_is_one_picture_and_a_moving_one_is_not() -> None:
    still = render(Scene(Attributes("red", "ball", "grass", "still"), PixelShape(9, 64, 64), 1))
    moving = render(Scene(Attributes("red", "ball", "grass", "up"), PixelShape(9, 64, 64), 1))
    assert (still == still[0]).all()
    assert (moving[-1] != moving[0]).any()


def test_objects_stay_in_view() -> None:
    for seed in range(60):
        scene = sample(MIX, seed)
        frames = render(scene)
        bright = render(replace(scene, attributes=replace(scene.attributes, colour="red")))
        other = render(replace(scene, attributes=replace(scene.attributes, colour="cyan")))
        object_pixels = (bright != other).any(-1)
        edge = np.ones(frames.shape[1:3], bool)
        edge[1:-1, 1:-1] = False
        assert object_pixels.any((1, 2)).all()
        assert not object_pixels[:, edge].any()
