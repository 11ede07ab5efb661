"""What windows are given, and that what was given comes back as it was."""

import numpy as np
import pytest

from sora_core.edits import (
    Canvas,
    Clip,
    Edit,
    Extend,
    Interpolate,
    Keyframes,
    Loop,
    Outpaint,
    Plan,
    Region,
    Repaint,
    Restyle,
    Transition,
    assemble,
    first_frame,
    latent_mask,
    make_canvas,
    mask_region,
    plan_windows,
    settle,
)
from sora_core.edits.fill import FADE_FRAMES
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape

from .test_plan import ROOM

RNG = np.random.default_rng(0)


def noise(frames: int, height: int = 64, width: int = 64) -> Clip:
    return RNG.integers(0, 256, (frames, height, width, 3), np.uint8)


def run(edit: Edit, sources: list[Clip]) -> tuple[Plan, list[Canvas], list[Clip], Clip]:
    """All of an edit with a model that makes grey of whatever it is given."""
    plan = plan_windows(edit, [PixelShape(*source.shape[:3]) for source in sources], ROOM)
    canvases: list[Canvas] = []
    made: list[Clip] = []
    for index, window in enumerate(plan.windows):
        canvases.append(make_canvas(plan, index, sources, made))
        assert canvases[-1].shape == window.shape
        made.append(settle(canvases[-1], np.full_like(canvases[-1].frames, 128)))
    return plan, canvases, made, np.stack(list(assemble(plan, sources, made)))


@pytest.mark.parametrize("num_frames", [1, 6, 30])
def test_an_extended_film_holds_the_sources_own_frames(num_frames: int) -> None:
    source = noise(17)
    *_, forward = run(Extend(num_frames), [source])
    *_, backward = run(Extend(num_frames, "backward"), [source])
    assert len(forward) == len(backward) == 17 + num_frames
    assert np.array_equal(forward[:17], source)
    assert np.array_equal(backward[num_frames:], source)


def test_a_window_knows_the_frames_before_it() -> None:
    source = noise(17)
    _, canvases, made, film = run(Extend(30), [source])
    assert np.array_equal(canvases[0].frames[:5], source[-5:])
    assert np.array_equal(canvases[1].frames[:5], made[0][-5:])
    for canvas in canvases:
        assert canvas.known[:5].all()
        assert not canvas.known[5:].any()
    assert np.array_equal(film[29:41], made[1][5:])


def test_loops_and_transitions_know_both_sides() -> None:
    a, b = noise(17), noise(9)
    _, (canvas,), _, film = run(Transition(8), [a, b])
    assert np.array_equal(canvas.frames[:5], a[-5:])
    assert np.array_equal(canvas.frames[-4:], b[:4])
    assert canvas.known.all(axis=(1, 2)).tolist() == [True] * 5 + [False] * 8 + [True] * 4
    assert np.array_equal(film[:17], a)
    assert np.array_equal(film[25:], b)
    _, (canvas,), _, film = run(Loop(8), [a])
    assert np.array_equal(canvas.frames[-4:], a[:4])
    assert len(film) == 25
    _, (plain, bridge), made, film = run(Loop(8, PixelShape(17, 64, 64)), [])
    assert not plain.known.any()
    assert np.array_equal(bridge.frames[-4:], made[0][:4])
    assert np.array_equal(film[:17], made[0])


def test_stills_are_kept_at_their_frames_and_held_for_their_latent_ones() -> None:
    stills = [noise(1), noise(1)]
    _, (canvas,), _, film = run(Keyframes((0, 10), PixelShape(17, 64, 64)), stills)
    assert canvas.known.all(axis=(1, 2)).nonzero()[0].tolist() == [0, 9, 10, 11, 12]
    assert canvas.kept.all(axis=(1, 2)).nonzero()[0].tolist() == [0, 10]
    assert np.array_equal(film[[0, 10]], np.concatenate(stills))
    assert latent_mask(canvas.known, Compression(), Patch()).all(axis=(1, 2)).tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    image = first_frame(stills[0][0], 17)
    assert image.known.all(axis=(1, 2)).tolist() == [True] + [False] * 16


def test_outside_a_repainted_box_nothing_changes() -> None:
    source = noise(17)
    box = Region(4, 9, 20, 24, 16, 16)
    _, (canvas,), _, film = run(Repaint((box,)), [source])
    changed = np.zeros((17, 64, 64), bool)
    changed[4:9, 20:36, 24:40] = True
    assert np.array_equal(film[~changed], source[~changed])
    assert not np.array_equal(film[changed], source[changed])
    hidden = canvas.frames[~canvas.known]
    assert set(map(tuple, hidden)) <= set(map(tuple, canvas.frames[canvas.known]))  # the nearest known, not the source


def test_a_mask_frees_what_is_white() -> None:
    source, mask = noise(17), np.zeros((1, 64, 64, 3), np.uint8)
    mask[0, 10:30, 40:50] = 255
    region = mask_region(np.repeat(mask, 17, axis=0))
    assert region == Region(0, 17, 10, 40, 20, 10)
    *_, film = run(Repaint((region,), masked=True), [source, mask])
    same = (film == source).all(axis=-1)
    assert same[:, mask[0, ..., 0] == 0].all()
    assert not same[:, mask[0, ..., 0] > 0].all()
    with pytest.raises(InputError, match="nothing white"):
        mask_region(np.zeros_like(mask))


def test_the_autoencoders_error_fades_out_beside_what_is_kept() -> None:
    """A model that is ten too dark everywhere: at the seam its frames are right, farther away they stay as they are."""
    source = np.full((9, 64, 64, 3), 138, np.uint8)
    *_, film = run(Extend(12), [source])
    levels = film[8:15, 0, 0, 0].tolist()
    assert levels[0] == 138
    assert levels == sorted(levels, reverse=True)
    assert levels[1] >= 136
    assert levels[1 + FADE_FRAMES :] == [128] * (6 - FADE_FRAMES)
    *_, film = run(Repaint((Region(0, 9, 16, 16, 32, 32),)), [source])
    assert film[4, 31, 16:48, 0].min() == film[4, 31, 31, 0] == 128
    assert film[4, 31, 16, 0] >= 136


def test_a_larger_picture_keeps_the_smaller_one_inside() -> None:
    source = noise(20, 48, 64)
    plan, canvases, _, film = run(Outpaint(64, 96, 8, 16), [source])
    assert film.shape == (20, 64, 96, 3)
    assert np.array_equal(film[:, 8:56, 16:80], source)
    assert len(plan.windows) == 2
    assert np.array_equal(canvases[0].frames[:, 0, 16:80], source[:17, 0])  # its edge, continued


def test_a_film_at_twice_the_rate_starts_from_blends_and_keeps_the_frames_there_were() -> None:
    source = noise(9)
    _, (canvas,), _, film = run(Interpolate(2, 0.5), [source])
    assert canvas.strength == 0.5
    assert np.array_equal(film[::2], source)
    middle = (source[:-1].astype(float) + source[1:]) / 2
    assert np.abs(canvas.frames[1::2] - middle).max() <= 0.5
    assert latent_mask(canvas.known, Compression(), Patch())[:, 0, 0].tolist() == [True] + [False] * 4


def test_a_restyled_film_starts_from_the_source_and_goes_on_from_what_was_made() -> None:
    source = noise(20)
    _, canvases, made, film = run(Restyle(0.6), [source])
    assert np.array_equal(canvases[0].frames, source[:17])
    assert not canvases[0].known.any()
    assert np.array_equal(canvases[1].frames[:5], made[0][-5:])
    assert canvases[1].known[:5].all()
    assert np.array_equal(canvases[1].frames[5:8], source[17:20])
    assert len(film) == 20


def test_latents_are_given_where_every_pixel_of_their_patch_is_known() -> None:
    known = np.ones((9, 32, 48), bool)
    known[6, 3, 20] = False
    given = latent_mask(known, Compression(), Patch())
    assert given.shape == (3, 4, 6)
    assert np.argwhere(~given).tolist() == [[2, 0, 2], [2, 0, 3], [2, 1, 2], [2, 1, 3]]
