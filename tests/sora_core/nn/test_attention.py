import itertools
import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sora_core.nn import attention as module
from sora_core.nn.attention import Segments, attention, choose_backend

MIXED = ((3, 7, 7, 1, 12, 7), (5, 2, 2, 4, 1, 9))


def draw(lengths: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(sum(lengths), 2, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


def dense(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, bias: Tensor | None = None) -> Tensor:
    """The definition, in float64: softmax over a block-diagonal mask."""
    q, k, v = (x.double().transpose(0, 1) for x in (q, k, v))
    clip = [torch.repeat_interleave(torch.tensor(s.lengths)) for s in (queries, keys)]
    logits = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias.double()
    logits = logits.masked_fill(clip[0][:, None] != clip[1][None], -torch.inf)
    return (logits.softmax(-1) @ v).transpose(0, 1)


@pytest.mark.parametrize("lengths", [MIXED, ((6, 6, 6), (4, 4, 4)), ((9,), (3,))], ids=["mixed", "equal", "alone"])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_equals_its_definition_with_gradients(
    lengths: tuple[tuple[int, ...], tuple[int, ...]], biased: bool
) -> None:
    queries, keys = (Segments.of(of) for of in lengths)
    bias = torch.randn(keys.total, generator=torch.Generator().manual_seed(9)).exp() if biased else None
    inputs = [draw(of, seed).requires_grad_() for seed, of in enumerate((lengths[0], lengths[1], lengths[1]))]
    weight = draw(lengths[0], 5)
    ours = attention(*inputs, queries, keys, bias)
    got = torch.autograd.grad((ours * weight).sum(), inputs)
    wanted = torch.autograd.grad((dense(*inputs, queries, keys, bias) * weight).sum(), inputs)
    torch.testing.assert_close(ours.double(), dense(*inputs, queries, keys, bias), rtol=1e-5, atol=1e-6)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bias_of_log_w_counts_a_key_w_times() -> None:
    q, k, v = draw((4,), 0), draw((3,), 1), draw((3,), 2)
    bias = torch.tensor([0.0, 0.0, 500.0]).clamp(min=1).log()
    repeated = [torch.cat((x, x[-1:].expand(499, -1, -1))) for x in (k, v)]
    wanted = attention(q, *repeated, Segments.of((4,)), Segments.of((502,)))
    torch.testing.assert_close(attention(q, k, v, Segments.of((4,)), Segments.of((3,)), bias), wanted)


def test_bfloat16_carries_a_bias_to_sixteen_bits() -> None:
    queries, keys = (Segments.of(of) for of in MIXED)
    inputs = [draw(of, seed, torch.bfloat16) for seed, of in enumerate((MIXED[0], MIXED[1], MIXED[1]))]
    bias = torch.linspace(0, 6.2, keys.total)
    wanted = dense(*inputs, queries, keys, bias)
    error = (attention(*inputs, queries, keys, bias).double() - wanted).norm() / wanted.norm()
    assert error < 1e-2


def test_a_clip_is_blind_to_its_neighbours() -> None:
    queries, keys = (Segments.of(of) for of in MIXED)
    q, k, v = (draw(of, seed) for seed, of in enumerate((MIXED[0], MIXED[1], MIXED[1])))
    before = attention(q, k, v, queries, keys)
    others = [0, *itertools.accumulate(MIXED[1])]
    k[: others[2]], v[others[3] :] = 99.0, 99.0
    torch.testing.assert_close(queries.split(attention(q, k, v, queries, keys))[2], queries.split(before)[2])


@pytest.mark.parametrize(
    ("text", "name"),
    [("", "torch varlen_attn"), ("import no_such_library", "torch varlen_attn"),
     ("def flash_attn_varlen_func(): ...", "flash-attn, variable length")],
    ids=["of that name only", "that can't be loaded", "the real one"],
)  # fmt: skip
def test_a_package_that_only_looks_like_flash_attention_is_not_taken(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flash_attn.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    choose_backend.cache_clear()
    with caplog.at_level(logging.INFO, logger=module.__name__):
        choose_backend("cuda", torch.float16)
    choose_backend.cache_clear()
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    assert caplog.messages[-1] == f"attention on cuda in torch.float16: {name}"
    assert ("can't be loaded" in caplog.text) == text.startswith("import")


def test_backend_is_chosen_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    choose_backend.cache_clear()
    with caplog.at_level(logging.INFO, logger=module.__name__):
        for _ in range(3):
            attention(draw((4,), 0), draw((4,), 1), draw((4,), 2), Segments.of((4,)), Segments.of((4,)))
    assert [record.message for record in caplog.records] == [
        "attention on cpu in torch.float32: equal lengths batched, torch SDPA"
    ]


def test_bfloat16_in_chunks_equals_its_definition_with_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_SCORES", 1)
    queries, keys = Segments.of((600, 300)), Segments.of((10, 20))
    inputs = [draw(s.lengths, seed, torch.bfloat16).requires_grad_() for seed, s in enumerate((queries, keys, keys))]
    weight = draw(queries.lengths, 5)
    ours, wanted = attention(*inputs, queries, keys), dense(*inputs, queries, keys)
    got = torch.autograd.grad((ours * weight).sum(), inputs)
    expected = torch.autograd.grad((wanted * weight).sum(), inputs)
    for one, other in zip((ours, *got), (wanted, *expected), strict=True):
        assert (one.double() - other.double()).norm() / other.double().norm() < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_kernels_equal_the_definition() -> None:
    queries, keys = (Segments.of(of) for of in MIXED)
    inputs = [draw(of, seed, torch.bfloat16) for seed, of in enumerate((MIXED[0], MIXED[1], MIXED[1]))]
    bias = torch.linspace(0, 6.2, keys.total)
    wanted = dense(*inputs, queries, keys, bias)
    there = [x.cuda() for x in inputs]
    ours = attention(*there, queries.to("cuda"), keys.to("cuda"), bias.cuda()).cpu().double()
    assert (ours - wanted).norm() / wanted.norm() < 1e-2
