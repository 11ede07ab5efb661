"""What conditions a DiT: the noise level, the text, and image tokens where the model has them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sora_core.dit.config import DiTConfig
from sora_core.errors import InputError
from sora_core.nn.attention import Segments
from sora_core.nn.layers import FeedForward, affine_norm, time_features

# The open weights saw noise levels as steps of a thousand.
TIME_SCALE = 1000.0


class TimeEmbedding(nn.Module):
    """Two linear maps of the sinusoids of a noise level; kept in float32 beside weights of lower precision."""

    def __init__(self, freq_dim: int, dim: int) -> None:
        super().__init__()
        self.freq_dim = freq_dim
        self.linear_1 = nn.Linear(freq_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, sigma: Float[Tensor, " r"]) -> Float[Tensor, "r d"]:
        features = time_features(TIME_SCALE * sigma, self.freq_dim).to(self.linear_1.weight.dtype)
        with torch.autocast(sigma.device.type, enabled=False):
            embedded: Tensor = self.linear_2(F.silu(self.linear_1(features)))
        return embedded


class TextEmbedding(nn.Module):
    """Text states to the width of the model."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(text_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, text: Float[Tensor, "m e"]) -> Float[Tensor, "m d"]:
        embedded: Tensor = self.linear_2(F.gelu(self.linear_1(text), approximate="tanh"))
        return embedded


class ImageEmbedding(nn.Module):
    """Image tokens to the width of the model; ``pos_embed`` tells a first frame's tokens from a last frame's."""

    def __init__(self, image_dim: int, dim: int, num_positions: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(image_dim)
        self.ff = FeedForward(image_dim, image_dim, dim, approximate="none")
        self.norm2 = nn.LayerNorm(dim)
        self.pos_embed = None
        if num_positions is not None:
            self.pos_embed = nn.Parameter(torch.zeros(1, num_positions, image_dim))

    def forward(self, image: Float[Tensor, "k e"], lengths: Sequence[int]) -> Float[Tensor, "k d"]:
        if self.pos_embed is not None:
            expected = self.pos_embed.shape[1]
            if set(lengths) != {expected}:
                raise InputError(f"{sorted(set(lengths))} image tokens: this model takes {expected} a clip")
            image = image + self.pos_embed[0].repeat(len(lengths), 1)
        return affine_norm(self.norm2, self.ff(affine_norm(self.norm1, image)))


class ConditionEmbedder(nn.Module):
    """The three embedders, under the names of the open weights."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.padding_len = config.text_padding_len
        self.time_embedder = TimeEmbedding(config.freq_dim, config.dim)
        self.time_proj = nn.Linear(config.dim, 6 * config.dim)
        self.text_embedder = TextEmbedding(config.text_dim, config.dim)
        self.image_embedder = None
        if config.image_dim is not None:
            self.image_embedder = ImageEmbedding(config.image_dim, config.dim, config.pos_embed_seq_len)
        self.pooled_embedder = nn.Linear(config.text_dim, config.dim) if config.pooled_text else None

    def pad_text(
        self, text: Float[Tensor, "m e"], segments: Segments
    ) -> tuple[Float[Tensor, "p e"], Segments, Float[Tensor, " p"] | None]:
        """The text with one zero state a clip that stands for all the padding, and the logits' bias that makes it so.

        Softmax over ``n`` states and ``512 - n`` equal ones is softmax over ``n + 1`` of which the last counts
        ``512 - n`` times. InputError when a text is longer than the padding.
        """
        if self.padding_len is None:
            return text, segments, None
        if segments.longest > self.padding_len:
            raise InputError(
                f"a text of {segments.longest} states: this model takes {self.padding_len} at most; shorten it"
            )
        parts, bias = [], []
        for part in segments.split(text):
            short = self.padding_len - len(part)
            parts += [part, part.new_zeros(min(short, 1), part.shape[1])]
            bias.append(torch.zeros(len(part) + min(short, 1), device=text.device))
            if short:
                bias[-1][-1] = math.log(short)
        lengths = tuple(map(len, bias))
        return torch.cat(parts), Segments.of(lengths, text.device), torch.cat(bias)

    def pooled(self, text: Float[Tensor, "m e"], segments: Segments) -> Float[Tensor, "n d"] | None:
        """A projection of each clip's mean text state."""
        if self.pooled_embedder is None:
            return None
        means = torch.stack([part.mean(0) for part in segments.split(text)])
        projected: Tensor = self.pooled_embedder(means)
        return projected
