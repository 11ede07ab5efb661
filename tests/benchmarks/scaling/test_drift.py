"""What the drift of a clip is measured by, on clips whose drift is known."""

import cv2
import numpy as np
import pytest

from benchmarks.scaling.drift import measure
from jobs.evaluate.sampling import Frames
from sora_core.shapes import PixelShape
from sora_core.world.looks import is_whole, speckle
from sora_core.world.render import render
from sora_core.world.scene import Attributes, Scene


def clip(colour: str = "red", shape: str = "square", direction: str = "right") -> Frames:
    attributes = Attributes(colour=colour, shape=shape, background="grass", direction=direction)
    return render(Scene(attributes, PixelShape(17, 64, 64), seed=3))


def test_the_truth_does_not_drift() -> None:
    drift = measure(clip(), clip())
    assert drift.position.max() == 0
    assert drift.ground.max() == 0
    assert drift.lost.max() == 0
    assert drift.hue.max() < 2
    assert drift.outline.min() > 0.85
    assert drift.crooked.max() < 0.02


def test_a_turning_hue_is_measured_in_degrees() -> None:
    hsv = [cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in clip()]
    turned = [np.dstack([(frame[..., 0] + number) % 180, frame[..., 1:]]) for number, frame in enumerate(hsv)]
    video = np.stack([cv2.cvtColor(frame.astype(np.uint8), cv2.COLOR_HSV2RGB) for frame in turned])
    # OpenCV's hue of 8 bits counts two degrees.
    assert measure(video, clip()).hue == pytest.approx(2.0 * np.arange(17), abs=3)


def test_another_shape_overlaps_less() -> None:
    assert measure(clip(shape="triangle"), clip()).outline.max() < 0.75


def test_a_clip_that_stops_leaves_the_true_place_and_its_own_straight_line() -> None:
    video = clip()
    video[9:] = video[8]
    drift = measure(video, clip())
    assert drift.position[:9].max() == 0
    assert (np.diff(drift.position[9:]) > 0).all()
    assert drift.crooked.max() > 0.04


def test_a_vanished_object_is_lost_and_nothing_else_is_said_of_it() -> None:
    video = clip()
    video[10:] = (69, 107, 51)
    drift = measure(video, clip())
    assert drift.lost.tolist() == [0.0] * 10 + [1.0] * 7
    assert np.isnan(drift.position[10:]).all()
    assert np.isnan(drift.hue[10:]).all()


def test_an_object_cut_by_the_edge_is_not_whole() -> None:
    video = clip(direction="still")
    column = int(np.argwhere(video[0, ..., 0] > 200)[:, 1].mean())
    assert is_whole(video)
    assert not is_whole(video[:, :, column:])


def test_speckle_is_the_size_of_single_pixels_off() -> None:
    video = clip(direction="still")
    noisy = video.copy()
    noisy[:, ::4, ::4] += 16  # one pixel in sixteen by 16 of 255; the ground's own texture is finer than that
    assert speckle(noisy) - speckle(video) == pytest.approx(1.0, abs=0.2)
