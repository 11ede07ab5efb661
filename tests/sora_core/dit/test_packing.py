import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_core.dit.packing import REFERENCE_TIME, Clip, pack, patchify, unpack, unpatchify
from sora_core.errors import InputError
from sora_core.shapes import LatentShape, Patch

TEXT = torch.zeros(2, 3)


@settings(max_examples=25, deadline=None)
@given(
    grid=st.tuples(*[st.integers(1, 3)] * 3),
    patch=st.tuples(*[st.integers(1, 2)] * 3),
    channels=st.integers(1, 4),
)
def test_patchify_round_trip(grid: tuple[int, int, int], patch: tuple[int, int, int], channels: int) -> None:
    sides = [g * p for g, p in zip(grid, patch, strict=True)]
    latent = torch.randn(channels, *sides)
    tokens = patchify(latent, Patch(*patch))
    assert torch.equal(unpatchify(tokens, Patch(*patch).grid(LatentShape(*latent.shape)), Patch(*patch)), latent)


def test_patchify_orders_values_as_a_convolution_reads_them() -> None:
    latent = torch.randn(3, 2, 4, 6)
    kernel = torch.randn(5, 3, 1, 2, 2)
    convolved = torch.nn.functional.conv3d(latent[None], kernel, stride=(1, 2, 2))[0].flatten(1).T
    torch.testing.assert_close(patchify(latent, Patch()) @ kernel.flatten(1).T, convolved)


def test_pack_and_unpack_keep_every_clip() -> None:
    shapes = [(2, 4, 6), (1, 2, 2), (3, 2, 4)]
    clips = [Clip(torch.randn(4, *shape), 0.5, torch.randn(m + 1, 3)) for m, shape in enumerate(shapes)]
    packed = pack(clips)
    assert packed.cu_seqlens.tolist() == [0, 12, 13, 19]
    assert packed.cu_text.tolist() == [0, 1, 3, 6]
    assert packed.position[12].tolist() == [0, 0, 0]
    assert packed.position[-1].tolist() == [2, 0, 1]
    for latent, clip in zip(unpack(packed, packed.tokens), clips, strict=True):
        assert torch.equal(latent, clip.latent)


def test_sigma_is_one_number_or_one_a_token() -> None:
    mixed = torch.tensor([0.0, 0.7, 0.7, 0.0])
    latent = torch.randn(4, 1, 4, 4)
    packed = pack([Clip(latent, mixed, TEXT), Clip(latent, 0.7, TEXT)])
    torch.testing.assert_close(packed.sigma, torch.cat((mixed, torch.full((4,), 0.7))))
    assert len(packed.levels) == 3


def test_references_follow_their_clip_clean_and_far_from_it_in_time() -> None:
    still, film = torch.randn(4, 1, 4, 4), torch.randn(4, 2, 2, 4)
    with_both = Clip(torch.randn(4, 2, 2, 2), 0.7, TEXT, references=(still, film))
    alone = Clip(torch.randn(4, 1, 2, 2), 0.3, TEXT)
    packed = pack([with_both, alone])
    assert packed.cu_seqlens.tolist() == [0, 2 + 4 + 4, 11]
    torch.testing.assert_close(packed.sigma, torch.tensor([0.7] * 2 + [0.0] * 8 + [0.3]))
    assert packed.position[:, 0].tolist() == [0, 1, *[-REFERENCE_TIME] * 4, *[-2 * REFERENCE_TIME] * 2, -127, -127, 0]
    for latent, clip in zip(unpack(packed, packed.tokens), (with_both, alone), strict=True):
        assert torch.equal(latent, clip.latent)


def test_wrong_clips_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="at least one clip"):
        pack([])
    with pytest.raises(InputError, match="1x3x4 can't be cut"):
        pack([Clip(torch.randn(4, 1, 3, 4), 0.5, TEXT)])
    with pytest.raises(InputError, match="4 tokens but sigma of shape \\(3,\\)"):
        pack([Clip(torch.randn(4, 1, 4, 4), torch.zeros(3), TEXT)])
    seen = Clip(torch.randn(4, 1, 4, 4), 0.5, TEXT, torch.randn(2, 5))
    with pytest.raises(InputError, match="1 of 2 clips carry image tokens"):
        pack([seen, Clip(torch.randn(4, 1, 4, 4), 0.5, TEXT)])
