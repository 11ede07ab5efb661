"""The numbers that make a DiT."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sora_core.errors import CheckpointError, ConfigError
from sora_core.shapes import Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class DiTConfig:
    """Names and meanings are those of the open weights' ``config.json``; the last three fields are ours.

    ``text_padding_len`` fills every text with zero states to that length and attends to them, as the open weights were
    trained; None attends to the real states alone. ``pooled_text`` adds a projection of the mean text state to the
    time embedding. ``data_variance``, one value a channel, adds the best linear answer (`sora_core.dit.precondition`).
    """

    num_attention_heads: int
    attention_head_dim: int
    in_channels: int
    out_channels: int
    text_dim: int
    ffn_dim: int
    num_layers: int
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    cross_attn_norm: bool = True
    eps: float = 1e-6
    image_dim: int | None = None
    added_kv_proj_dim: int | None = None
    pos_embed_seq_len: int | None = None
    rope_max_seq_len: int = 1024
    text_padding_len: int | None = None
    pooled_text: bool = False
    data_variance: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.attention_head_dim % 2 or self.attention_head_dim < 6:
            raise ConfigError(
                f"attention_head_dim = {self.attention_head_dim}: rotary positions on three axes need an even "
                f"size of 6 or more"
            )
        if self.freq_dim % 2:
            raise ConfigError(f"freq_dim = {self.freq_dim}: give an even number")
        if (self.image_dim is None) != (self.added_kv_proj_dim is None):
            raise ConfigError("image_dim and added_kv_proj_dim go together: give both or neither")
        if self.data_variance is not None and (
            not len(self.data_variance) == self.in_channels == self.out_channels or min(self.data_variance) <= 0
        ):
            raise ConfigError(
                f"data_variance = {self.data_variance} with {self.in_channels} channels in and {self.out_channels} "
                "out: give one positive number for each channel, or none"
            )

    @property
    def dim(self) -> int:
        """Width of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def patch(self) -> Patch:
        return Patch(*self.patch_size)

    def to_dict(self) -> dict[str, Any]:
        variance = None if self.data_variance is None else list(self.data_variance)
        return dataclasses.asdict(self) | {"patch_size": list(self.patch_size), "data_variance": variance}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DiTConfig":
        """The config that `to_dict` wrote; CheckpointError names every unknown and every missing key."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
        missing = sorted(required - set(values))
        if unknown or missing:
            raise CheckpointError(
                f"DiT config: unknown keys {unknown}, missing keys {missing}; it was written by another version "
                f"or for another architecture"
            )
        given = dict(values)
        for name in ("patch_size", "data_variance"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        return cls(**given)
