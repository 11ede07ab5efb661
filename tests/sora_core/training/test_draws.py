import numpy as np
import pytest
import torch

from sora_core.shapes import LatentShape, Patch
from sora_core.training.draws import DrawRules, draw_step
from sora_core.training.masks import KINDS, draw_mask

RULES = DrawRules(seed=1, caption_dropout=0.1, given={"first_frame": 0.2, "outside_a_box": 0.1})
LATENT = LatentShape(4, 5, 8, 12)


def test_draws_are_a_function_of_seed_and_step_alone() -> None:
    before = draw_step(RULES, 7, 40)
    torch.rand(3)
    np.random.default_rng().uniform()
    assert draw_step(RULES, 7, 40) == before
    assert draw_step(RULES, 8, 40) != before
    assert draw_step(DrawRules(2, 0.1, RULES.given), 7, 40) != before


def test_noise_levels_are_stratified() -> None:
    levels = sorted(draw.u for draw in draw_step(RULES, 1, 50))
    assert all(number / 50 <= level <= (number + 1) / 50 for number, level in enumerate(levels))


def test_captions_are_dropped_and_masks_drawn_at_the_stated_shares() -> None:
    draws = [draw for step in range(200) for draw in draw_step(RULES, step, 50)]
    share = {kind: sum(draw.mask_kind == kind for draw in draws) / len(draws) for kind in KINDS}
    assert sum(draw.drop_caption for draw in draws) / len(draws) == pytest.approx(0.1, abs=0.01)
    assert share["first_frame"] == pytest.approx(0.2, abs=0.015)
    assert share["outside_a_box"] == pytest.approx(0.1, abs=0.015)
    assert share["nothing"] == pytest.approx(0.7, abs=0.015)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_mask_follows_patches_and_leaves_something_to_learn(kind: str, frames: int) -> None:
    latent = LatentShape(4, frames, 8, 12)
    for seed in range(30):
        mask = draw_mask(kind, latent, Patch(1, 2, 2), np.random.default_rng(seed))
        assert mask.shape == (frames, 8, 12)
        assert not bool(mask.all())
        corner = mask[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert torch.equal(mask, corner)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_end_with_whole_patches_in_time(kind: str) -> None:
    latent, patch = LatentShape(4, 8, 8, 8), Patch(2, 2, 2)
    for seed in range(20):
        mask = draw_mask(kind, latent, patch, np.random.default_rng(seed))
        assert mask.shape == (8, 8, 8)
        assert torch.equal(mask[0::2], mask[1::2])
        assert not mask.all()
    one = LatentShape(4, 2, 8, 8)  # a clip of one token in time has no first frame apart from itself
    assert not draw_mask("first_frame", one, patch, np.random.default_rng(0)).any()


def test_masks_give_the_frames_that_they_name() -> None:
    rng = np.random.default_rng(0)
    given = {kind: draw_mask(kind, LATENT, Patch(), rng).flatten(1).all(1).tolist() for kind in KINDS}
    assert given["nothing"] == [False] * 5
    assert given["first_frame"] == [True, False, False, False, False]
    assert given["last_frame"] == [False, False, False, False, True]
    assert given["both_ends"] == [True, False, False, False, True]
    assert given["prefix"] == sorted(given["prefix"], reverse=True)
    assert given["prefix"][0]
    assert given["suffix"] == sorted(given["suffix"])
    assert given["suffix"][4]
    assert (given["around_the_middle"][0], given["around_the_middle"][4]) == (True, True)
    assert 0 < sum(given["keyframes"]) < 5
    assert given["outside_a_box"] != [True] * 5


def test_a_smaller_picture_is_given_at_all_times() -> None:
    mask = draw_mask("inside_a_box", LATENT, Patch(), np.random.default_rng(1))
    assert mask.any()
    assert torch.equal(mask, mask[:1].expand(5, -1, -1))


def test_several_boxes_leave_more_free_than_one() -> None:
    shares = {
        kind: np.mean([draw_mask(kind, LATENT, Patch(), np.random.default_rng(n)).float().mean() for n in range(200)])
        for kind in ("outside_a_box", "outside_boxes")
    }
    assert shares["outside_boxes"] < shares["outside_a_box"]


def test_a_still_has_no_first_frame_apart_from_itself() -> None:
    still = LatentShape(4, 1, 8, 8)
    assert not draw_mask("first_frame", still, Patch(), np.random.default_rng(0)).any()
