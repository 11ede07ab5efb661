"""Captions say exactly what a scene shows, and held-out combinations stay out."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from sora_core.errors import InputError
from sora_core.shapes import PixelShape
from sora_core.world.scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    DIRECTIONS,
    SHAPES,
    Attributes,
    Mix,
    Scene,
    Thing,
    held_out,
)
from sora_core.world.words import HELD_OUT, NUM_WORDINGS, caption, parse, sample, swapped

MIX = Mix({(64, 64): 2, (48, 112): 1}, {1: 1, 9: 2}, {1: 3, 2: 1})


def every_attributes() -> list[Attributes]:
    combinations = product(COLOURS, SHAPES, BACKGROUNDS, [None, *DIRECTIONS], COUNTS)
    return [Attributes(*combination) for combination in combinations]


def test_every_caption_parses_to_what_made_it() -> None:
    everything = every_attributes()
    captions = [caption(attributes) for attributes in everything]
    assert [parse(text) for text in captions] == everything
    assert len(set(captions)) == len(everything)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red ball",
        "two red ball moves left over grass",
        "a red balls move left over grass",
        "a red ball moves still over grass",
        "a red ball stays left over grass",
        "a purple ball moves left over grass",
        "A red ball moves left over grass",
        "a red ball moves left over grass ",
    ],
)
def test_what_is_no_caption_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a red ball moves left over grass"):
        parse(text)


def test_a_word_outside_the_vocabulary_is_refused_with_the_words_that_exist() -> None:
    with pytest.raises(InputError, match=r"purple.*red, yellow"):
        Attributes("purple", "ball", "grass", "left")


@pytest.mark.parametrize(("direction", "frames"), [(None, 9), ("left", 1)])
def test_only_a_photograph_has_no_direction(direction: str | None, frames: int) -> None:
    with pytest.raises(InputError, match="photograph"):
        Scene(Attributes("red", "ball", "grass", direction), PixelShape(frames, 64, 64), 0)


def test_training_and_held_out_scenes_never_share_a_combination() -> None:
    seen = {sample(MIX, seed).attributes for seed in range(500)}
    unseen = {sample(MIX, seed, unseen=True).attributes for seed in range(500)}
    assert not any(map(held_out, seen))
    assert all(map(held_out, unseen))
    assert len(unseen) > 50


def test_every_pair_of_values_occurs_in_training() -> None:
    trained = [attributes for attributes in every_attributes() if attributes.direction and not held_out(attributes)]
    for first, second in product(("colour", "shape", "background", "direction"), repeat=2):
        pairs = {(getattr(one, first), getattr(one, second)) for one in trained}
        whole = {(getattr(one, first), getattr(one, second)) for one in every_attributes() if one.direction}
        assert pairs == whole


def test_the_count_decides_nothing_about_being_held_out() -> None:
    for attributes in every_attributes():
        assert held_out(attributes) == held_out(replace(attributes, count=1))


def test_a_seed_is_one_scene() -> None:
    assert [sample(MIX, seed) for seed in range(50)] == [sample(MIX, seed) for seed in range(50)]
    assert len({sample(MIX, seed) for seed in range(50)}) == 50


def test_weights_are_shares() -> None:
    scenes = [sample(MIX, seed) for seed in range(1000)]
    square = sum(scene.size.height == scene.size.width for scene in scenes) / 1000
    single = sum(scene.attributes.count == 1 for scene in scenes) / 1000
    assert square == pytest.approx(2 / 3, abs=0.05)
    assert single == pytest.approx(3 / 4, abs=0.05)


@pytest.mark.parametrize(
    ("sizes", "frames", "counts", "named"),
    [
        ({}, {9: 1}, {1: 1}, "sizes"),
        ({"64": 1}, {9: 1}, {1: 1}, "64"),
        ({"32x64": 1}, {9: 1}, {1: 1}, "32x64"),
        ({"64x64": 0}, {9: 1}, {1: 1}, "sizes"),
        ({"64x64": 1}, {0: 1}, {1: 1}, "frames"),
        ({"64x64": 1}, {9: -1}, {1: 1}, "frames"),
        ({"64x64": 1}, {9: 1}, {4: 1}, "counts"),
    ],
)
def test_a_mix_that_can_not_be_drawn_is_refused(
    sizes: dict[str, float], frames: dict[int, float], counts: dict[int, float], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        Mix.parse(sizes, frames, counts)


def test_a_size_is_written_width_first() -> None:
    assert Mix.parse({"112x48": 1}, {9: 1}, {1: 1}).sizes == {(48, 112): 1}


RICH = {"plain": 1.0, "sized": 1.0, "several": 1.0, "event": 1.0, "camera": 1.0}


@pytest.mark.parametrize("wording", ["first", "trained", "held out"])
def test_every_wording_of_every_kind_parses_to_what_made_it(wording: str) -> None:
    mix = Mix.parse({"64x64": 1}, {1: 1, 17: 3}, {1: 1, 2: 1, 3: 1}, RICH, wording)
    scenes = [sample(mix, seed) for seed in range(400)]
    captions = [caption(scene.attributes, scene.wording) for scene in scenes]
    assert [parse(text) for text in captions] == [scene.attributes for scene in scenes]
    assert {scene.wording for scene in scenes} == {
        "first": {0}, "trained": set(range(NUM_WORDINGS)) - set(HELD_OUT), "held out": set(HELD_OUT),
    }[wording]  # fmt: skip
    assert len(set(range(NUM_WORDINGS)) - set(HELD_OUT)) >= 6


def test_a_swap_changes_one_attribute_and_nothing_else() -> None:
    mix = Mix.parse({"64x64": 1}, {1: 1, 17: 3}, {1: 1, 2: 1}, RICH, "trained")
    for seed in range(100):
        scene = sample(mix, seed)
        for name, text in swapped(caption(scene.attributes, scene.wording)):
            other = parse(text)
            assert getattr(other, name) != getattr(scene.attributes, name)
            assert replace(other, **{name: getattr(scene.attributes, name)}) == scene.attributes


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"size": "huge"}, "huge"),
        ({"event": "bounces", "direction": "still"}, "must move"),
        ({"camera": "zooms in"}, "'still'"),
        ({"size": "small", "count": 2}, "single object"),
        ({"others": (Thing("red", "ring", "left"),)}, "a colour of its own"),
    ],
)
def test_what_can_not_be_shown_together_is_refused(more: dict[str, Any], named: str) -> None:
    values: dict[str, Any] = {"colour": "red", "shape": "ball", "background": "sand", "direction": "left"}
    with pytest.raises(InputError, match=named):
        Attributes(**(values | more))
