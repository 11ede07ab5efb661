"""The scenes that edits are judged on: none that a training saw, each with a prompt for something else."""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.edits.footage import LONG, WINDOW
from sora_core.edits import Clip
from sora_core.world.render import render
from sora_core.world.scene import BACKGROUNDS, DIRECTIONS, Attributes, Mix, Scene
from sora_core.world.words import caption, sample

NUM_SCENES = 24


@dataclass(frozen=True, slots=True)
class Case:
    """A long scene: its first half is what edits start from, its second the truth about what follows."""

    scene: Scene
    frames: Clip

    @property
    def source(self) -> Clip:
        return self.frames[:WINDOW]

    @property
    def prompt(self) -> str:
        return caption(self.scene.attributes)

    def other(self) -> Attributes:
        """Another colour, shape and ground, the same motion."""
        told = self.scene.attributes
        rng = np.random.default_rng(self.scene.seed)
        mix = Mix.parse({"64x64": 1.0}, {WINDOW: 1.0}, {1: 1.0})
        while True:
            new = replace(sample(mix, int(rng.integers(2**31))).attributes, direction=told.direction)
            if new.colour != told.colour and new.background != told.background and new.shape != told.shape:
                return new

    def elsewhere(self) -> Scene:
        """The same object on another ground, moving otherwise."""
        told, rng = self.scene.attributes, np.random.default_rng(self.scene.seed)
        grounds = [ground for ground in BACKGROUNDS if ground != told.background]
        directions = [direction for direction in DIRECTIONS if direction not in ("still", told.direction)]
        new = replace(told, background=str(rng.choice(grounds)), direction=str(rng.choice(directions)))
        return Scene(new, replace(self.scene.size, frames=WINDOW), int(rng.integers(2**31)))


def cases(*, still: bool = False) -> list[Case]:
    """Scenes that no training saw; moving ones, for a jump is measured against motion, unless ``still``."""
    mix, found, number = Mix.parse({"64x64": 1.0}, {LONG: 1.0}, {1: 1.0}), [], 41 * 2**32
    while len(found) < NUM_SCENES:
        scene = sample(mix, number)
        number += 1
        if (scene.attributes.direction == "still") == still:
            found.append(Case(scene, render(scene)))
    return found
