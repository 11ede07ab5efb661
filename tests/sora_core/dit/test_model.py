import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sora_core.dit.config import DiTConfig
from sora_core.dit.cost import flops
from sora_core.dit.model import Context, DiT
from sora_core.dit.packing import Clip, pack, unpack
from sora_core.errors import CheckpointError, ConfigError, InputError

from .tiny import SIZES, relative_error, tiny_clips, tiny_dit

KINDS: dict[str, dict[str, Any]] = {
    "native": {},
    "pooled text": {"pooled_text": True},
    "padded text": {"text_padding_len": 512},
    "no cross norm": {"cross_attn_norm": False},
    "image tokens": {"image_dim": 7, "added_kv_proj_dim": 48},
}


def clips_for(kind: str) -> list[Clip]:
    return tiny_clips(image=(6, 7) if kind == "image tokens" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_one_at_a_time(kind: str) -> None:
    dit, clips = tiny_dit(**KINDS[kind]), clips_for(kind)
    together = pack(clips)
    for clip, ours in zip(clips, unpack(together, dit(together)), strict=True):
        alone = pack([clip])
        assert relative_error(ours, unpack(alone, dit(alone))[0]) < 5e-6


@pytest.mark.parametrize("kind", ["native", "padded text"])
def test_gradients_of_a_pack_equal_the_sum_of_those_alone(kind: str) -> None:
    dit, clips = tiny_dit(**KINDS[kind]), clips_for(kind)
    parameters = list(dit.parameters())
    together = torch.autograd.grad(dit(pack(clips)).square().sum(), parameters)
    alone = [torch.autograd.grad(dit(pack([clip])).square().sum(), parameters) for clip in clips]
    for index, gradient in enumerate(together):
        assert (
            relative_error(gradient, torch.stack([one[index] for one in alone]).sum(0)) < 5e-5
        )  # rounding of sums, in another order on every kind of core


def test_identity_at_zero_init() -> None:
    dit = DiT(DiTConfig(**SIZES))
    seen = []
    dit.blocks[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    packed = pack(tiny_clips())
    assert torch.equal(dit(packed), torch.zeros(packed.num_tokens, 16))
    assert torch.equal(seen[0], dit.patch_embedding(packed.tokens))


def test_a_fresh_model_can_learn() -> None:
    """Closed gates must open: a few steps of descent reach every parameter and lower the loss."""
    dit, packed = DiT(DiTConfig(**SIZES)), pack(tiny_clips())
    wanted = torch.randn(packed.num_tokens, 16, generator=torch.Generator().manual_seed(2))
    optimiser = torch.optim.Adam(dit.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(4):
        value = (dit(packed) - wanted).square().mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    assert [name for name, parameter in dit.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_kept_context_equals_reading_the_text_again(kind: str) -> None:
    dit, clips = tiny_dit(**KINDS[kind]), clips_for(kind)
    packed = pack(clips)
    kept = Context.join([dit.context(clip.text, clip.image) for clip in clips])
    assert relative_error(dit(packed, kept), dit(packed)) < 2e-6


def test_zero_padding_by_one_weighted_state_equals_all_of_them() -> None:
    """The open models attend to zeros up to their text length: a text that carries its own zeros is the definition."""
    dit = tiny_dit(text_padding_len=40)
    for clip in tiny_clips():
        filled = torch.cat((clip.text, torch.zeros(40 - len(clip.text), 12)))
        wanted = dit(pack([Clip(clip.latent, clip.sigma, filled)]))
        assert relative_error(dit(pack([clip])), wanted) < 2e-6


def test_activation_checkpointing_changes_no_number() -> None:
    dit, packed = tiny_dit(), pack(tiny_clips())
    parameters = list(dit.parameters())
    plain, gradients = dit(packed), torch.autograd.grad(dit(packed).square().sum(), parameters)
    dit.activation_checkpointing = True
    again, checkpointed = dit(packed), torch.autograd.grad(dit(packed).square().sum(), parameters)
    torch.testing.assert_close(again, plain)
    for one, other in zip(checkpointed, gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_compiled_blocks_attend_as_they_did_across_workers_too() -> None:
    """Ulysses attention, say, set before."""
    dit, calls = tiny_dit(), []

    class Across:
        def __call__(self, value: int) -> int:
            calls.append(value)
            return value

    for block in dit.blocks:
        block.attn1.attend = Across()
    dit.compile_blocks(backend="eager")
    assert [block.attn1.attend(number) for number, block in enumerate(dit.blocks)] == calls == [*range(len(calls))]


@pytest.mark.slow
def test_compiled_blocks_answer_alike_and_compile_once_for_all_shapes() -> None:
    """In a process of its own: the compiler can't see through the shape checks that tests put around functions."""
    script = Path(__file__).with_name("compiled.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=250, check=True)
    errors, graphs = json.loads(done.stdout)
    assert max(errors) < 2e-6
    assert graphs[0] > 0
    assert len(set(graphs)) == 1


def test_a_noise_level_is_embedded_once_however_many_tokens_have_it() -> None:
    dit, rows = tiny_dit(), []
    dit.condition_embedder.time_proj.register_forward_hook(lambda _, inputs, output: rows.append(len(output)))
    packed = pack(tiny_clips())
    dit(packed)
    distinct = sum(1 if isinstance(clip.sigma, float) else len(clip.sigma.unique()) for clip in tiny_clips())
    assert rows == [distinct]
    assert distinct < packed.num_tokens


def test_text_and_noise_level_reach_the_output() -> None:
    dit, clip = tiny_dit(), tiny_clips()[0]
    base = dit(pack([clip]))
    for other in (Clip(clip.latent, clip.sigma, clip.text + 1), Clip(clip.latent, 0.1, clip.text)):
        assert relative_error(dit(pack([other])), base) > 1e-2


def test_bfloat16_autocast_stays_near_float32() -> None:
    dit, packed = tiny_dit(), pack(tiny_clips())
    exact = dit(packed)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = dit(packed)
    assert relative_error(rounded, exact) < 3e-2


def test_wrong_packs_are_refused_before_compute() -> None:
    dit = tiny_dit(rope_max_seq_len=4)
    clip = tiny_clips()[0]
    dit(pack([clip]))
    with pytest.raises(InputError, match="takes 4 channels"):
        dit(pack([Clip(torch.randn(5, 1, 2, 2), 0.5, clip.text)]))
    with pytest.raises(InputError, match=r"clip of 1x5x1 tokens.*positions for 4 a side"):
        dit(pack([Clip(torch.randn(4, 1, 10, 2), 0.5, clip.text)]))
    with pytest.raises(InputError, match="width 3: this model reads 12"):
        dit(pack([Clip(clip.latent, 0.5, torch.randn(2, 3))]))
    with pytest.raises(InputError, match="encode the empty prompt"):
        dit(pack([Clip(clip.latent, 0.5, torch.randn(0, 12))]))
    with pytest.raises(InputError, match="takes no image tokens"):
        dit(pack([Clip(clip.latent, 0.5, clip.text, torch.randn(2, 7))]))
    with pytest.raises(InputError, match="a text of 9 states: this model takes 4"):
        tiny_dit(text_padding_len=4)(pack([tiny_clips()[2]]))


def test_config_round_trip_is_strict() -> None:
    config = DiTConfig(**SIZES, pooled_text=True)
    assert DiTConfig.from_dict(config.to_dict()) == config
    with pytest.raises(CheckpointError, match=r"unknown keys \['window'\], missing keys \['ffn_dim'\]"):
        DiTConfig.from_dict(
            {name: value for name, value in config.to_dict().items() if name != "ffn_dim"} | {"window": 1}
        )
    with pytest.raises(ConfigError, match="attention_head_dim = 5"):
        DiTConfig(**(SIZES | {"attention_head_dim": 5}))


def test_predicted_work_is_what_torch_counts() -> None:
    dit, packed = tiny_dit(), pack(tiny_clips())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the fused kernel isn't counted
        dit(packed)
    predicted = flops(dit.config, packed.segments.lengths, packed.text_segments.lengths)
    levels = len(packed.levels) * 2 * (256 * 48 + 48 * 48 + 48 * 6 * 48)
    assert counter.get_total_flops() == pytest.approx(predicted + levels, rel=1e-6)
