"""The peers and variants that the product's model is compared with compute what they say."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.scaling.alignment import AlignedTrainer, align, without_alignment
from benchmarks.scaling.averages import PowerEma, exponent
from benchmarks.scaling.clean import CleanDiT
from benchmarks.scaling.clips import ClipSet
from benchmarks.scaling.runs import Recipe, fresh, make_trainer, steps
from benchmarks.scaling.unet import UNetDenoiser
from sora_core.dit.config import DiTConfig
from sora_core.dit.model import DiT
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.training.step import Example
from sora_core.vae.whitening import Whitening

CONFIG = DiTConfig(
    num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, text_dim=8, ffn_dim=24, num_layers=2,
    pooled_text=True,
)  # fmt: skip


def clips() -> list[Clip]:
    shapes = [(4, 1, 8, 8), (4, 3, 8, 8), (4, 1, 8, 8)]
    sigmas = (0.2, 0.5, 0.9)
    return [
        Clip(torch.randn(shape), sigma, torch.randn(3 + n, 8))
        for n, (shape, sigma) in enumerate(zip(shapes, sigmas, strict=True))
    ]


@torch.no_grad()
def test_the_u_net_answers_each_clip_of_a_pack_as_if_alone() -> None:
    torch.manual_seed(0)
    net = UNetDenoiser(CONFIG, (8, 16)).eval()
    nn.init.normal_(net.net.conv_out.weight)
    several = clips()
    together = unpack(pack(several), net(pack(several)))
    for clip, answer in zip(several, together, strict=True):
        (alone,) = unpack(pack([clip]), net(pack([clip])))
        torch.testing.assert_close(answer, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_step_along_the_velocity_of_a_clean_answer_lands_on_it() -> None:
    plain, clean = DiT(CONFIG), CleanDiT(CONFIG)
    for model in (plain, clean):
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1)
    packed = pack(clips())
    answer, velocity = plain(packed), clean(packed)
    torch.testing.assert_close(packed.tokens - packed.sigma[:, None] * velocity, answer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [0.05, 0.1])
def test_a_power_law_average_spans_the_asked_part_of_the_run(width: float) -> None:
    # Each step's weight in the final average, from feeding the step's number in: its spread over the run's length.
    steps, value = 2000, nn.Parameter(torch.zeros(steps_plus_1 := 2001))
    average = PowerEma([("value", value)], width)
    for step in range(1, steps_plus_1):
        with torch.no_grad():
            value.zero_()
            value[step] = 1.0
        average.update(step)
    share = average.average["value"].double().numpy()
    times = np.arange(steps_plus_1)
    mean = (share * times).sum() / share.sum()
    spread = np.sqrt((share * (times - mean) ** 2).sum() / share.sum())
    assert share.sum() == pytest.approx(1, abs=1e-3)
    assert spread / steps == pytest.approx(width, rel=0.02)
    assert exponent(width) > 0


def test_an_aligned_step_teaches_the_projector_what_the_features_of_its_own_clips_are() -> None:
    examples = [Example(str(n), torch.randn(4, 1, 4, 4), torch.zeros(4, 1, 4, 4), torch.randn(3, 8)) for n in range(4)]
    known = ClipSet(examples, [], Whitening((0.0,) * 4, (1.0,) * 4), torch.zeros(2, 8), np.arange(4))
    recipe = Recipe(pack_tokens=8, given={}, precision=torch.float32)
    trainer = make_trainer(align(fresh(CONFIG, 0), 0, features=6, weight=0.5), known, recipe, AlignedTrainer)
    assert isinstance(trainer, AlignedTrainer)
    trainer.features = {example.clip_id: torch.randn(4, 6) for example in examples}
    before = trainer.dit.alignment.projector[2].weight.clone()
    taken = steps(trainer, known, recipe)
    next(taken), next(taken)
    assert not torch.equal(before, trainer.dit.alignment.projector[2].weight)


def test_alignment_changes_no_answer_and_teaches_the_blocks_before_it_alone() -> None:
    torch.manual_seed(0)
    several = clips()
    features = [torch.randn(len(unit.latent[0].flatten()) // 4, 6) for unit in several]
    dit = align(DiT(CONFIG), block=0, features=6, weight=0.5)
    for parameter in dit.blocks.parameters():
        nn.init.normal_(parameter, std=0.1)
    plain = without_alignment(dit)
    packed = pack(several)
    dit.alignment.expect(features, num_clips=3)
    answer = dit(packed)
    torch.testing.assert_close(answer, plain(packed))
    (0 * answer.sum()).backward()
    assert float(dit.blocks[0].ffn.net[2].weight.grad.abs().sum()) > 0
    assert float(dit.alignment.projector[2].weight.grad.abs().sum()) > 0
    assert float(dit.blocks[1].ffn.net[2].weight.grad.abs().sum()) == 0
