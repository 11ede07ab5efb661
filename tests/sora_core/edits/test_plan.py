"""Where the windows of an edit lie, and what is refused before any work."""

from dataclasses import replace

import pytest

from sora_core.edits import (
    Edit,
    Extend,
    Interpolate,
    Join,
    Keyframes,
    Loop,
    Outpaint,
    Plan,
    Region,
    Repaint,
    Restyle,
    Room,
    Transition,
    from_json,
    plan_windows,
    supported,
    to_json,
)
from sora_core.edits.spec import LEARNED_FROM
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape
from sora_core.training.masks import KINDS

# Windows of five latent frames at 64x64: 16 tokens a frame.
ROOM = Room(Compression(), Patch(), 80, 320, 64, frozenset(KINDS))
CLIP = PixelShape(17, 64, 64)
BOX = Region(4, 9, 16, 16, 16, 16)


def frames_of(plan: Plan) -> list[tuple[int, int]]:
    return [(window.start, window.start + window.shape.frames) for window in plan.windows]


EDITS: list[tuple[Edit, list[PixelShape]]] = [
    (Keyframes((0, 16), CLIP), [PixelShape(1, 64, 64)] * 2),
    (Extend(30), [CLIP]),
    (Extend(30, "backward"), [CLIP]),
    (Loop(8), [CLIP]),
    (Loop(8, CLIP), []),
    (Transition(20), [CLIP, PixelShape(9, 64, 64)]),
    (Interpolate(2), [CLIP]),
    (Restyle(), [PixelShape(40, 64, 64)]),
    (Repaint((BOX,)), [CLIP]),
    (Repaint((BOX,), masked=True), [CLIP, PixelShape(1, 64, 64)]),
    (Outpaint(64, 112, 0, 16), [CLIP]),
    (Join(), [CLIP, PixelShape(9, 64, 64), CLIP]),
]


@pytest.mark.parametrize(("edit", "sources"), EDITS)
def test_an_edit_goes_to_json_and_back(edit: Edit, sources: list[PixelShape]) -> None:
    assert from_json(to_json(edit)) == edit


@pytest.mark.parametrize(("edit", "sources"), EDITS)
def test_every_window_is_a_clip_that_the_model_holds(edit: Edit, sources: list[PixelShape]) -> None:
    plan = plan_windows(edit, sources, ROOM)
    for window in plan.windows:
        latent = ROOM.compression.latent(window.shape, channels=1)
        assert ROOM.patch.grid(latent).num_tokens <= max(ROOM.usual_tokens, 5 * 28)
        assert latent.frames <= 5


@pytest.mark.parametrize(("edit", "sources"), EDITS)
def test_sources_and_windows_show_every_frame_of_the_film(edit: Edit, sources: list[PixelShape]) -> None:
    plan = plan_windows(edit, sources, ROOM)
    shown = {layer.at + i * layer.step for layer in plan.layers for i in range(layer.shape.frames)}
    for begin, end in frames_of(plan):
        shown |= {place % plan.film.frames if plan.cyclic else place for place in range(begin, end)}
    assert set(range(plan.film.frames)) <= shown


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_extension_costs_the_same_for_any_length_of_source(direction: str) -> None:
    edits = Extend(33, "forward") if direction == "forward" else Extend(33, "backward")
    short, long = (plan_windows(edits, [PixelShape(frames, 64, 64)], ROOM).windows for frames in (17, 1700))
    assert [window.shape for window in short] == [window.shape for window in long]


def test_an_extension_begins_on_the_last_frames_and_goes_on_in_windows() -> None:
    plan = plan_windows(Extend(30), [CLIP], ROOM)
    assert plan.film.frames == 47
    assert frames_of(plan) == [(12, 29), (24, 41), (36, 49)]  # five frames of context, twelve new ones; the rest is cut


def test_what_comes_before_a_clip_ends_on_its_first_frames() -> None:
    plan = plan_windows(Extend(30, "backward"), [CLIP], ROOM)
    assert plan.layers[0].at == 30
    assert frames_of(plan) == [(17, 34), (4, 21), (-1, 8)]


def test_a_loop_goes_from_the_end_over_to_the_beginning() -> None:
    plan = plan_windows(Loop(7), [CLIP], ROOM)
    assert plan.cyclic
    assert plan.film.frames == 17 + 8  # whole latent frames
    assert frames_of(plan) == [(12, 12 + 5 + 8 + 4)]
    of_text = plan_windows(Loop(8, CLIP), [], ROOM)
    assert frames_of(of_text) == [(0, 17), *frames_of(plan)]


def test_a_transition_lies_between_its_clips() -> None:
    plan = plan_windows(Transition(8), [CLIP, CLIP], ROOM)
    assert [layer.at for layer in plan.layers] == [0, 25]
    assert frames_of(plan) == [(12, 29)]
    longer = plan_windows(Transition(20), [CLIP, CLIP], ROOM)
    assert frames_of(longer)[-1][1] == 17 + 20 + 4


def test_a_repaint_computes_the_crop_that_box_and_margin_need() -> None:
    room = replace(ROOM, usual_tokens=1280, max_tokens=5120)
    crop = plan_windows(Repaint((Region(0, 17, 100, 80, 80, 80),)), [PixelShape(17, 256, 256)], room).windows[0]
    assert (crop.top, crop.left, crop.shape) == (80, 48, PixelShape(17, 128, 144))


def test_a_repaint_computes_the_time_that_box_and_context_need() -> None:
    windows = plan_windows(Repaint((Region(50, 54, 0, 0, 64, 64),)), [PixelShape(200, 64, 64)], ROOM).windows
    assert [(window.start, window.shape.frames) for window in windows] == [(45, 13)]


def test_an_old_model_extends_from_one_frame() -> None:
    plan = plan_windows(Extend(16), [CLIP], replace(ROOM, given=frozenset({"first_frame"})))
    assert frames_of(plan) == [(16, 33)]


def test_what_a_model_was_not_trained_for_is_refused() -> None:
    first = frozenset({"first_frame"})
    assert supported(first) == ("first_frame", "extend_forward", "interpolate", "restyle")
    assert supported(()) == ("restyle",)
    assert supported((*KINDS, "reference")) == tuple(LEARNED_FROM)
    with pytest.raises(InputError, match=r"extend_backward: this model was not trained for it.*suffix.*first_frame"):
        plan_windows(Extend(4, "backward"), [CLIP], replace(ROOM, given=first))


@pytest.mark.parametrize(
    ("edit", "sources", "message"),
    [
        (Extend(0), [CLIP], "0 new frames"),
        (Extend(4), [], "0 sources: this edit takes 1"),
        (Extend(4), [PixelShape(17, 60, 64)], "size 64x60.*multiples of 16"),
        (Extend(4), [PixelShape(17, 640, 640)], "1600 tokens: this model takes 320 in a window"),
        (Extend(4, "backward"), [PixelShape(3, 64, 64)], "3 frames.*4 frames of it or more"),
        (Loop(8), [PixelShape(3, 64, 64)], "3 frames to end on"),
        (Loop(8, PixelShape(16, 64, 64)), [], "16 frames.*use 13 or 17"),
        (Transition(8), [CLIP, PixelShape(17, 48, 64)], "fit the second"),
        (Keyframes((3, 4), CLIP), [PixelShape(1, 64, 64)] * 2, "4 frames or more apart"),
        (Keyframes((17,), CLIP), [PixelShape(1, 64, 64)], r"stills at \[17\] of 17 frames"),
        (Keyframes((0,), CLIP), [PixelShape(1, 32, 64)], "fit it to one frame"),
        (Keyframes((0,), PixelShape(401, 64, 64)), [PixelShape(1, 64, 64)], "too long for one window: use 17"),
        (Interpolate(1), [CLIP], "17 frames at 1 times"),
        (Restyle(0.0), [CLIP], "strength 0.0"),
        (Repaint((Region(0, 4, 60, 0, 16, 16),)), [CLIP], "doesn't lie in a video of 17x64x64"),
        (Repaint(()), [CLIP], "nothing to repaint"),
        (Repaint((BOX,), masked=True), [CLIP, PixelShape(2, 64, 64)], "a mask of 2x64x64"),
        (Outpaint(64, 64, 8, 0), [CLIP], "doesn't lie in"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_numbers(edit: Edit, sources: list[PixelShape], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_windows(edit, sources, ROOM)


def test_what_is_no_edit_is_refused() -> None:
    for values in ({"kind": "melt"}, {"kind": "extend"}, {"kind": "loop", "num_frames": 4, "colour": 1}):
        with pytest.raises(InputError, match="not an edit"):
            from_json(values)
