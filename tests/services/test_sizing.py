"""The door and the model agree about what fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.video.errors import ApiError
from services.video.intake.sizing import plan
from services.video.schemas import CreateVideo, ModelCard
from sora_core.errors import InputError
from sora_core.pipeline import Request
from sora_core.pipeline.generation import Limits
from sora_core.shapes import Compression, Patch

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


@given(st.integers(0, 16), st.integers(0, 16), st.integers(0, 16))
def test_what_the_door_accepts_the_model_makes_and_what_it_refuses_the_model_cannot(
    columns: int, rows: int, steps: int
) -> None:
    width, height, num_frames = 16 * columns, 16 * rows, 4 * steps + 1
    wanted = CreateVideo(prompt="x", size=f"{width}x{height}", num_frames=num_frames)
    request = Request(prompt="x", num_frames=num_frames, height=height, width=width)
    try:
        plan(wanted, CARD)
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
        plan(CreateVideo.model_validate({"prompt": "x", **wanted}), CARD)
    assert remedy in raised.value.message


def test_a_budget_counts_a_guided_clip_twice() -> None:
    wanted = CreateVideo(prompt="x", size="96x96", num_frames=5, guidance_scale=3)
    tight = CARD.model_copy(update={"token_budget": 143})
    with pytest.raises(ApiError, match="72 tokens, the limit is 71"):
        plan(wanted, tight)
    assert plan(wanted, CARD).batch_tokens == 144
