"""The best linear answer, added to the network's: what it is, what it costs, and who may have it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sora_core.diffusion import flow
from sora_core.dit.config import DiTConfig
from sora_core.dit.convert import save_wan
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack, patchify
from sora_core.errors import CheckpointError, ConfigError
from sora_core.shapes import Patch
from tests.sora_core.dit.tiny import SIZES, noise, tiny_dit

Q = (0.5, 2.0, 1.0, 0.25)
SHAPE = (4, 4, 32, 32)


def fresh(**changes: object) -> DiT:
    torch.manual_seed(0)
    return DiT(DiTConfig(**(SIZES | {"data_variance": Q} | changes)))


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2)])
def test_an_untouched_model_answers_as_the_best_linear_one(sigma: float, patch: tuple[int, int, int]) -> None:
    x = noise(1, *SHAPE) * torch.tensor(Q).sqrt()[:, None, None, None]
    z = noise(2, *SHAPE)
    noisy, target = flow.add_noise(x, z, sigma), flow.target(x, z)
    found = fresh(patch_size=patch)(pack([Clip(noisy, sigma, noise(3, 2, 12))], Patch(*patch)))
    by_channel = noisy.flatten(1).square().sum(1)
    slope = (noisy * target).flatten(1).sum(1) / by_channel  # least squares, a channel at a time
    wanted = patchify(noisy * slope[:, None, None, None], Patch(*patch))
    assert (found - wanted).square().mean() < 2e-3
    missed = torch.tensor([q / ((1 - sigma) ** 2 * q + sigma**2) for q in Q]).mean()
    assert (found - patchify(target, Patch(*patch))).square().mean() == pytest.approx(float(missed), rel=0.05)


@torch.no_grad()
def test_the_network_sees_values_of_unit_variance_and_given_tokens_at_level_zero() -> None:
    model, seen = fresh(), []
    model.patch_embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = noise(1, *SHAPE) * torch.tensor(Q).sqrt()[:, None, None, None]
    levels = torch.full((4 * 16 * 16,), 0.7)
    levels[:256] = 0.0
    noisy = torch.cat((x[:, :1], flow.add_noise(x, noise(2, *SHAPE), 0.7)[:, 1:]), dim=1)
    answer = model(pack([Clip(noisy, levels, noise(3, 2, 12))]))
    for part in (seen[0][:256], seen[0][256:]):
        assert part.square().mean() == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(answer[:256], -patchify(x[:, :1], Patch()))  # finite, and what nobody counts


@torch.no_grad()
def test_packed_equals_alone_with_preconditioning() -> None:
    model = tiny_dit(data_variance=Q)
    clips = [Clip(noise(n, 4, 1 + n, 4, 4), 0.2 + 0.3 * n, noise(9, 3, 12)) for n in range(3)]
    alone = torch.cat([model(pack([clip])) for clip in clips])
    torch.testing.assert_close(model(pack(clips)), alone, atol=1e-4, rtol=1e-4)


def test_a_config_keeps_its_variances_and_an_old_one_has_none() -> None:
    config = fresh().config
    assert DiTConfig.from_dict(config.to_dict()) == config
    before = replace(config, data_variance=None).to_dict()
    del before["data_variance"]
    assert DiTConfig.from_dict(before).data_variance is None


@pytest.mark.parametrize("variance", [(1.0,), (1.0, 1.0, 1.0, 0.0)])
def test_variances_that_do_not_fit_are_refused(variance: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="one positive number for each channel"):
        fresh(data_variance=variance)


def test_the_open_layout_knows_no_preconditioning(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="data_variance"):
        save_wan(fresh(text_padding_len=512), tmp_path)
