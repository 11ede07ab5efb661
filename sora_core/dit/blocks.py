"""A transformer block: self-attention in each clip, cross-attention to its text, feed-forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from sora_core.dit.config import DiTConfig
from sora_core.nn.attention import Segments, attention
from sora_core.nn.layers import FeedForward, RMSNorm, affine_norm, modulated_norm
from sora_core.nn.rope import rotate

Join = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Segments]]
"""From a pass's own keys and values to those that its queries see."""


@dataclass(frozen=True, slots=True)
class Modulation:
    """Six numbers a channel for each noise level of the pack, and which level each token has."""

    values: Float[Tensor, "r 6 d"]
    level: Int[Tensor, " l"]

    def per_token(self, table: Float[Tensor, "1 6 d"]) -> tuple[Float[Tensor, "l d"], ...]:
        """Shift, ``1 + scale``, gate of self-attention, then of the feed-forward, for every token; float32."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (table + self.values.float()).unbind(1)
        rows = torch.cat((shift, 1 + scale, gate, ffn_shift, 1 + ffn_scale, ffn_gate), dim=1)
        return rows.index_select(0, self.level).chunk(6, dim=1)


@dataclass(frozen=True, slots=True)
class TextStates:
    """Embedded text of the clips in a pack, and image tokens where the model has them.

    ``key_bias`` is the logarithm of how many tokens each one stands for; None where each stands for itself.
    """

    text: Float[Tensor, "m d"]
    segments: Segments
    key_bias: Float[Tensor, " m"] | None
    image: Float[Tensor, "k d"] | None = None
    image_segments: Segments | None = None


@dataclass(frozen=True, slots=True)
class KeyValues:
    """What one layer's cross-attention reads; made from `TextStates`, or kept from an earlier step."""

    key: Float[Tensor, "m d"]
    value: Float[Tensor, "m d"]
    segments: Segments
    key_bias: Float[Tensor, " m"] | None
    image_key: Float[Tensor, "k d"] | None = None
    image_value: Float[Tensor, "k d"] | None = None
    image_segments: Segments | None = None

    def of_clips(self, clips: Sequence[int]) -> "KeyValues":
        """What some clips of a pack read, in this order."""

        def pick(rows: Tensor, segments: Segments) -> Tensor:
            parts = segments.split(rows)
            return torch.cat([parts[index] for index in clips])

        def shorten(segments: Segments) -> Segments:
            return Segments.of(tuple(segments.lengths[index] for index in clips), segments.offsets.device)

        chosen = replace(
            self,
            key=pick(self.key, self.segments),
            value=pick(self.value, self.segments),
            key_bias=None if self.key_bias is None else pick(self.key_bias, self.segments),
            segments=shorten(self.segments),
        )
        if self.image_segments is None or self.image_key is None or self.image_value is None:
            return chosen
        return replace(
            chosen,
            image_key=pick(self.image_key, self.image_segments),
            image_value=pick(self.image_value, self.image_segments),
            image_segments=shorten(self.image_segments),
        )


def _extended(join: Join, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Segments]:
    return join(key, value)


class Attention(nn.Module):
    """Projections of an attention; query and key are normalised across all heads at once."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_attention_heads
        self.attend: Callable[..., Tensor] = attention
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q = RMSNorm(dim, config.eps)
        self.norm_k = RMSNorm(dim, config.eps)

    def heads(self, x: Float[Tensor, "l d"]) -> Float[Tensor, "l heads e"]:
        split: Tensor = rearrange(x, "l (heads e) -> l heads e", heads=self.num_heads)
        return split


class SelfAttention(Attention):
    """Every token of a clip with every other of that clip."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        self.extend: Callable[[Join, Tensor, Tensor], tuple[Tensor, Tensor, Segments]] = _extended

    def forward(
        self, x: Float[Tensor, "l d"], turns: Float[Tensor, "l f 2"], segments: Segments, join: Join | None = None
    ) -> Float[Tensor, "l d"]:
        query, key, value = self.to_q(x), self.to_k(x), self.heads(self.to_v(x))
        query = rotate(self.heads(self.norm_q(query)), turns).to(value.dtype)
        key = rotate(self.heads(self.norm_k(key)), turns).to(value.dtype)
        keys = segments
        if join is not None:
            key, value, keys = self.extend(join, key, value)
        mixed = self.attend(query, key, value, segments, keys)
        out: Tensor = self.to_out[0](mixed.flatten(1))
        return out


class CrossAttention(Attention):
    """Every token of a clip with the clip's text, and with its image tokens where the model has them."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        self.has_image = config.added_kv_proj_dim is not None
        if config.added_kv_proj_dim is not None:
            self.add_k_proj = nn.Linear(config.added_kv_proj_dim, config.dim)
            self.add_v_proj = nn.Linear(config.added_kv_proj_dim, config.dim)
            self.norm_added_k = RMSNorm(config.dim, config.eps)

    @torch.no_grad()
    def silence(self) -> None:
        """Make the layer answer zero until it has learned: it has no gate that starts closed."""
        for parameter in self.to_out.parameters():
            parameter.zero_()

    def key_values(self, states: TextStates) -> KeyValues:
        """Keys and values of the text: they depend on no token, so a sampler makes them once a request."""
        text = states.text
        value = self.to_v(text)
        kept = KeyValues(self.norm_k(self.to_k(text)).to(value.dtype), value, states.segments, states.key_bias)
        if states.image is None:
            return kept
        image_value = self.add_v_proj(states.image)
        image_key = self.norm_added_k(self.add_k_proj(states.image)).to(image_value.dtype)
        return KeyValues(
            kept.key,
            kept.value,
            kept.segments,
            kept.key_bias,
            image_key,
            image_value,
            states.image_segments,
        )

    def forward(
        self, x: Float[Tensor, "l d"], memory: TextStates | KeyValues, segments: Segments
    ) -> Float[Tensor, "l d"]:
        read = memory if isinstance(memory, KeyValues) else self.key_values(memory)
        query = self.heads(self.norm_q(self.to_q(x))).to(read.value.dtype)
        key, value = self.heads(read.key), self.heads(read.value)
        mixed = self.attend(query, key, value, segments, read.segments, read.key_bias)
        if read.image_key is not None:
            assert read.image_value is not None
            assert read.image_segments is not None
            image_key, image_value = self.heads(read.image_key), self.heads(read.image_value)
            mixed = mixed + self.attend(query, image_key, image_value, segments, read.image_segments)
        out: Tensor = self.to_out[0](mixed.flatten(1))
        return out


class Block(nn.Module):
    """``x + gate attn(norm(x))``, ``x + cross(norm(x))``, ``x + gate ffn(norm(x))``; cross-attention has no gate."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn1 = SelfAttention(config)
        self.attn2 = CrossAttention(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=config.eps) if config.cross_attn_norm else None
        self.ffn = FeedForward(config.dim, config.ffn_dim, config.dim)
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 6, config.dim))

    def compile_for_all_shapes(self, backend: str) -> None:
        """Compile everything but attention, which branches on lengths: a pack of new ones compiles nothing again."""
        for layer in (self.attn1, self.attn2):  # each attends as it did, across workers too
            layer.attend = torch.compiler.disable(layer.attend)
        self.attn1.extend = torch.compiler.disable(self.attn1.extend)
        self.compile(dynamic=True, backend=backend)

    def forward(
        self,
        x: Float[Tensor, "l d"],
        modulation: Modulation,
        turns: Float[Tensor, "l f 2"],
        segments: Segments,
        memory: TextStates | KeyValues,
        join: Join | None = None,
    ) -> Float[Tensor, "l d"]:
        shift, factor, gate, ffn_shift, ffn_factor, ffn_gate = modulation.per_token(self.scale_shift_table)
        mixed = self.attn1(modulated_norm(x, factor, shift, self.eps), turns, segments, join)
        x = (x.float() + mixed * gate).to(x.dtype)
        read = x if self.norm2 is None else affine_norm(self.norm2, x)
        x = x + self.attn2(read, memory, segments)
        thought = self.ffn(modulated_norm(x, ffn_factor, ffn_shift, self.eps))
        out: Tensor = (x.float() + thought.float() * ffn_gate).to(x.dtype)
        return out
