import logging
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from safetensors.torch import load_file, save_file
from transformers import UMT5EncoderModel

from sora_core.errors import CheckpointError
from sora_core.text import TextEncoder, cleaned

from .umt5 import DIM, write_umt5

PROMPTS = ["a red ball moves left", "", "a blue square stays", "two dogs run over the grass at night", "a red ball"]


@pytest.fixture(scope="module")
def default() -> TextEncoder:
    return TextEncoder.load()


@pytest.fixture
def umt5(tmp_path: Path) -> Path:
    return write_umt5(tmp_path)


def test_states_do_not_depend_on_neighbours(default: TextEncoder) -> None:
    for together, prompt in zip(default.encode(PROMPTS), PROMPTS, strict=True):
        torch.testing.assert_close(together, default.encode([prompt])[0], rtol=1e-4, atol=1e-5)


def test_states_are_unpadded_and_of_unit_size(default: TextEncoder) -> None:
    states = default.encode(PROMPTS)
    assert [len(one) for one in states] == [7, 2, 6, 10, 5]
    assert all(one.shape[1] == default.dim and one.dtype == torch.float32 for one in states)
    every = torch.cat(states)
    assert abs(every.mean()) < 0.02
    assert every.square().mean().sqrt() == pytest.approx(1, abs=0.1)


def test_words_reach_the_states(default: TextEncoder) -> None:
    left, right = default.encode(["a red ball moves left", "a red ball moves right"])
    assert (left[5] - right[5]).norm() > 0.3 * left[5].norm()


def test_states_can_be_trained_on(default: TextEncoder) -> None:
    weight = torch.ones(default.dim, requires_grad=True)
    (default.encode(["a ball"])[0] @ weight).sum().backward()
    assert weight.grad is not None


def test_fingerprint_tells_encoders_apart(default: TextEncoder, umt5: Path) -> None:
    one = TextEncoder.load(str(umt5)).fingerprint
    assert one == TextEncoder.load(str(umt5)).fingerprint != default.fingerprint
    path = umt5 / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    weights["encoder.final_layer_norm.weight"] += 1
    save_file(weights, path, metadata={"format": "pt"})
    assert TextEncoder.load(str(umt5)).fingerprint != one


def test_published_layout_equals_the_model_it_holds(umt5: Path) -> None:
    encoder = TextEncoder.load(str(umt5))
    model = UMT5EncoderModel.from_pretrained(umt5 / "text_encoder").eval()
    ids = torch.tensor([[3, 4, 5, 1, 0, 0]])  # as the published pipeline pads, with a mask
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state[0, :4]
    torch.testing.assert_close(encoder.encode(["a  red\nball"])[0], wanted, rtol=1e-5, atol=1e-5)
    assert encoder.dim == DIM
    assert encoder.max_tokens == 512


def test_prompts_are_unescaped_as_the_open_pipelines_do(umt5: Path) -> None:
    encoder = TextEncoder.load(str(umt5))
    escaped, plain = encoder.encode(["red &amp;amp; blue", "red & blue"])
    assert torch.equal(escaped, plain)


@pytest.mark.parametrize(
    "prompt",
    [
        "a  red\nball ", "red &amp;amp; blue", "caf\u00c3\u00a9 by the sea", "\u201ca dog\u201d", "\ufb01sh in a bowl",
        "a\u00a0b\u3000c", "\uff21 cat", "x &lt;b&gt; \u2026", "it\u00e2\u20ac\u2122s raining",
    ],
)  # fmt: skip
def test_prompts_are_cleaned_as_wans_own_pipeline_does(prompt: str) -> None:
    assert cleaned(prompt) == prompt_clean(prompt)


def test_a_prompt_beyond_the_encoder_is_cut_with_a_warning(
    default: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="sora_core.text"):
        assert len(default.encode(["word " * 400])[0]) == default.max_tokens
    assert "402 tokens is cut to 256" in caplog.text


def test_wrong_encoders_are_refused_by_name(umt5: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'no/such' is neither a folder nor a hub id"):
        TextEncoder.load("no/such")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match="can't be loaded"):
        TextEncoder.load(str(empty))
    path = umt5 / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    weights["surplus"] = weights.pop("encoder.final_layer_norm.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"encoder.final_layer_norm.weight.*surplus"):
        TextEncoder.load(str(umt5))
