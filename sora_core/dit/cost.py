"""Floating-point operations of a forward: for utilisation, and for the work that a request or a pack will be."""

from collections.abc import Sequence

from sora_core.dit.config import DiTConfig


def flops(config: DiTConfig, lengths: Sequence[int], text_lengths: Sequence[int]) -> float:
    """Operations of the matrix products of one forward of a pack; a training step is about three times as many.

    A multiply-add counts two. Padding of text counts one state a clip, as it is computed.
    """
    dim, layers = config.dim, config.num_layers
    padding = 0 if config.text_padding_len is None else 1
    texts = [length + padding for length in text_lengths]
    tokens, states = sum(lengths), sum(texts)
    linear = 2 * tokens * (4 * dim**2 + 2 * dim**2 + 2 * dim * config.ffn_dim)
    text_keys = 2 * states * 2 * dim**2
    self_attention = sum(4 * length**2 * dim for length in lengths)
    cross_attention = sum(4 * length * text * dim for length, text in zip(lengths, texts, strict=True))
    patch = config.patch.time * config.patch.height * config.patch.width
    ends = 2 * tokens * dim * patch * (config.in_channels + config.out_channels)
    text_embedding = 2 * states * (config.text_dim * dim + dim**2)
    return float(layers * (linear + text_keys + self_attention + cross_attention) + ends + text_embedding)
