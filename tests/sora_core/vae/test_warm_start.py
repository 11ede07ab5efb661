"""The linear start computes a PCA codec, and opening the branches hardly changes it."""

import pytest
import torch
from torch import Tensor

from sora_core.errors import InputError
from sora_core.vae import folder
from sora_core.vae.branches import open_branches
from sora_core.vae.causal import decode_unclamped, encode_moments
from sora_core.vae.metrics import psnr
from sora_core.vae.pca import PcaCodec
from sora_core.vae.trunk import trunk_decode, trunk_encode, trunk_parameters
from sora_core.vae.warm_start import warm_start


@pytest.fixture
def started(trained_layout: dict[str, object], real_clips: Tensor) -> object:
    torch.manual_seed(0)
    vae = folder.new_model(**trained_layout)
    warm_start(vae, real_clips)
    return vae


def explained(target: Tensor, source: Tensor) -> float:
    """Share of the variance of target (b, c, ...) that is linear in source."""
    x, y = (value.transpose(0, 1).flatten(1).T.double() for value in (source, target))
    x = torch.cat((x, torch.ones(len(x), 1).double()), dim=1)
    residual = y - x @ torch.linalg.lstsq(x, y).solution
    return float(1 - residual.square().sum() / (y - y.mean(0)).square().sum())


def test_the_encoder_starts_as_the_linear_codec_with_two_bases(started: object, real_clips: Tensor) -> None:
    codec = PcaCodec.fit(real_clips, 8)
    with torch.no_grad():
        ours, theirs = trunk_encode(started, real_clips), codec.encode(real_clips)
    assert explained(theirs[:, :, :1], ours[:, :, :1]) > 0.99
    assert explained(theirs[:, :, 1:], ours[:, :, 1:]) > 0.99


def test_the_encoder_starts_with_latents_of_unit_size(started: object, real_clips: Tensor) -> None:
    with torch.no_grad():
        latent = trunk_encode(started, real_clips)
    for part in (latent[:, :, :1], latent[:, :, 1:]):
        torch.testing.assert_close(part.transpose(0, 1).flatten(1).std(1), torch.ones(8), atol=0.02, rtol=0)


def test_opening_the_branches_hardly_changes_what_the_trunk_computes(started: object, real_clips: Tensor) -> None:
    with torch.no_grad():
        trunk = trunk_decode(started, trunk_encode(started, real_clips))
        open_branches(started, real_clips)
        whole = decode_unclamped(started, encode_moments(started, real_clips)[0])
    assert psnr(trunk, whole).mean() > psnr(real_clips, trunk).mean() + 5


def test_the_trunk_is_linear(started: object, noise_video: Tensor) -> None:
    with torch.no_grad():
        zero = trunk_encode(started, torch.zeros_like(noise_video))
        once, twice = (trunk_encode(started, scale * noise_video) - zero for scale in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once, atol=1e-4, rtol=1e-4)


def test_every_trunk_parameter_is_used_by_the_trunk(started: object, noise_video: Tensor) -> None:
    trunk_decode(started, trunk_encode(started, noise_video)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in trunk_parameters(started))


def test_another_layout_is_named(trained_layout: dict[str, object], real_clips: Tensor) -> None:
    vae = folder.new_model(**trained_layout | {"patch_size": 1, "in_channels": 3, "out_channels": 3})
    with pytest.raises(InputError, match=r"patch_size = 1.*needs 2"):
        warm_start(vae, real_clips)
