"""The door and the model agree about what fits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.video.errors import ApiError
from services.video.intake.sizing import size_clip
from services.video.intake.sources import as_made
from services.video.schemas import CreateVideo, ModelCard
from sora_core.errors import InputError
from sora_core.pipeline import Request
from sora_core.pipeline.generation import Limits
from sora_core.shapes import Compression, Fit, Patch

CARD = ModelCard(
    id="m",
    created=0,
    checkpoint="c",
    inputs=("text",),
    fps=8.0,
    size_multiple=16,
    frame_multiple=4,
    patch=(1, 2, 2),
    max_tokens=100,
    max_side_tokens=12,
    token_budget=1000,
    default_size="64x48",
    default_num_frames=9,
    default_num_inference_steps=4,
    default_guidance_scale=1.0,
)
LIMITS = Limits(max_tokens=100, max_side_tokens=12, multiple_of=16, frame_step=4, given=frozenset())


@settings(deadline=None)
@given(st.integers(0, 16), st.integers(0, 16), st.integers(0, 16))
def test_what_the_door_accepts_the_model_makes_and_what_it_refuses_the_model_cannot(
    columns: int, rows: int, steps: int
) -> None:
    width, height, num_frames = 16 * columns, 16 * rows, 4 * steps + 1
    wanted = CreateVideo(prompt="x", size=f"{width}x{height}", num_frames=num_frames)
    request = Request(prompt="x", num_frames=num_frames, height=height, width=width)
    try:
        size_clip(wanted, CARD)
    except ApiError:
        with pytest.raises(InputError):
            LIMITS.check(request, Compression(), Patch())
    else:
        LIMITS.check(request, Compression(), Patch())


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        ({"size": "208x16", "num_frames": 1}, "sides of at most 192"),
        ({"size": "16x16", "num_frames": 57}, "num_frames of at most 45"),
        ({"size": "16x16", "seconds": 10}, "num_frames of at most 45"),
        ({"size": "160x160", "num_frames": 5}, "num_frames of at most 1,"),
        ({"size": "192x192"}, "at most 160x160"),
    ],
)
def test_the_remedy_of_a_refusal_would_be_accepted(wanted: dict[str, object], remedy: str) -> None:
    with pytest.raises(ApiError) as raised:
        size_clip(CreateVideo.model_validate({"prompt": "x", **wanted}), CARD)
    assert remedy in raised.value.message


def test_a_budget_counts_a_guided_clip_twice() -> None:
    wanted = CreateVideo(prompt="x", size="96x96", num_frames=5, guidance_scale=3)
    tight = CARD.model_copy(update={"token_budget": 143})
    with pytest.raises(ApiError, match="72 tokens, the limit is 71"):
        size_clip(wanted, tight)
    assert size_clip(wanted, CARD).batch_tokens == 144


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_a_file_of_a_size_that_the_model_makes_keeps_it_and_any_other_comes_to_the_usual_area(
    height: int, width: int
) -> None:
    try:
        size_clip(CreateVideo(prompt="x", size=f"{width}x{height}", num_frames=CARD.default_num_frames), CARD)
        made = True
    except ApiError:
        made = False
    fit = as_made(CARD, CARD.default_num_frames, None)(height, width) if made or min(height, width) >= 16 else None
    if made:
        assert fit == Fit(height, width, height, width)
    elif fit is not None:
        assert fit.height % 16 == fit.width % 16 == 0
        assert fit.height * fit.width <= 64 * 48


def test_a_square_video_of_more_than_the_usual_area_comes_back_in_its_size() -> None:
    assert as_made(CARD, 9, None)(64, 64) == Fit(64, 64, 64, 64)
