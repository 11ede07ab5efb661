"""Big frames in tiles, both ways: memory of a tile, the picture of the whole.

Every tile is decoded through time with a causal cache of its own, all of them side by side, so frames still come as
they are made. Where tiles overlap they are blended; what lies at a tile's inner border, where the decoder sees padding
instead of the neighbour, doesn't count.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sora_core.errors import InputError
from sora_core.shapes import Compression
from sora_core.vae.causal import decode_chunks, encode_moments


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of at most ``side`` pixels a side, neighbours sharing ``overlap`` pixels or more.

    ``border`` is the part of an overlap, at each of its ends, that only the inner tile paints.
    """

    side: int = 768
    overlap: int = 192
    border: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= self.side // 2:
            raise InputError(f"tiles of {self.side} pixels that share {self.overlap}: give at most half the side")

    def spans(self, length: int, scale: int) -> list[tuple[int, int]]:
        """Begin and end of each tile along a side of ``length`` latents of ``scale`` pixels, evenly spread."""
        side, overlap = max(2, self.side // scale), max(1, self.overlap // scale)
        if length <= side:
            return [(0, length)]
        count = math.ceil((length - overlap) / (side - overlap))
        starts = [round(index * (length - side) / (count - 1)) for index in range(count)]
        return [(start, start + side) for start in starts]


def decode_tiles(
    vae: Any, latent: Float[Tensor, "b c lt lh lw"], tiling: Tiling, scale: int
) -> Iterator[Float[Tensor, "b 3 t h w"]]:
    """Unclamped pixels as `decode_chunks` gives them, a latent frame at a time; ``scale`` is pixels a latent."""
    rows, columns = tiling.spans(latent.shape[-2], scale), tiling.spans(latent.shape[-1], scale)
    if len(rows) == len(columns) == 1:
        yield from decode_chunks(vae, latent)
        return
    places = [(row, column) for row in rows for column in columns]
    down, across = _weights(rows, scale, tiling.border), _weights(columns, scale, tiling.border)
    weights = [(first[:, None] * second[None]).to(latent.device) for first in down for second in across]
    streams = [decode_chunks(vae, latent[..., row[0] : row[1], column[0] : column[1]]) for row, column in places]
    for chunks in zip(*streams, strict=True):
        height, width = latent.shape[-2] * scale, latent.shape[-1] * scale
        whole = torch.zeros(*chunks[0].shape[:3], height, width, device=latent.device)
        for chunk, weight, (row, column) in zip(chunks, weights, places, strict=True):
            target = whole[..., row[0] * scale : row[1] * scale, column[0] * scale : column[1] * scale]
            target += chunk.float() * weight
        yield whole


def encode_tiles(
    vae: Any, video: Float[Tensor, "b 3 t h w"], tiling: Tiling, compression: Compression
) -> tuple[Float[Tensor, "b c lt lh lw"], Float[Tensor, "b c lt lh lw"]]:
    """Mean and log variance as `encode_moments` gives them."""
    scale = compression.space
    height, width = video.shape[-2] // scale, video.shape[-1] // scale
    rows, columns = tiling.spans(height, scale), tiling.spans(width, scale)
    if len(rows) == len(columns) == 1:
        return encode_moments(vae, video, compression.time)
    means, log_variances = [], []
    for row in rows:
        for column in columns:
            tile = video[..., row[0] * scale : row[1] * scale, column[0] * scale : column[1] * scale].contiguous()
            mean, log_variance = encode_moments(vae, tile, compression.time)
            means.append(mean)
            log_variances.append(log_variance)
    return _blended(means, rows, columns, tiling.border), _blended(log_variances, rows, columns, tiling.border)


def _blended(
    tiles: Sequence[Tensor], rows: Sequence[tuple[int, int]], columns: Sequence[tuple[int, int]], border: float
) -> Tensor:
    """Tiles, row by row, as one latent (b, c, t, h, w); each paints its share."""
    down, across = _weights(rows, 1, border), _weights(columns, 1, border)
    whole = tiles[0].new_zeros(*tiles[0].shape[:3], rows[-1][1], columns[-1][1], dtype=torch.float32)
    for number, tile in enumerate(tiles):
        i, j = divmod(number, len(columns))
        weight = (down[i][:, None] * across[j][None]).to(tile.device)
        whole[..., rows[i][0] : rows[i][1], columns[j][0] : columns[j][1]] += tile.float() * weight
    return whole


def _weights(spans: Sequence[tuple[int, int]], scale: int, border: float) -> list[Float[Tensor, " n"]]:
    """How much each tile paints of every pixel along a side: at every pixel, the tiles' shares add up to one."""
    ramps = []
    for index, (begin, end) in enumerate(spans):
        ramp = torch.ones((end - begin) * scale)
        if index > 0:
            ramp *= _rise(len(ramp), (spans[index - 1][1] - begin) * scale, border)
        if index < len(spans) - 1:
            ramp *= _rise(len(ramp), (end - spans[index + 1][0]) * scale, border).flip(0)
        ramps.append(ramp)
    total = torch.zeros(spans[-1][1] * scale)
    for (begin, end), ramp in zip(spans, ramps, strict=True):
        total[begin * scale : end * scale] += ramp
    return [
        ramp / total[begin * scale : end * scale].clamp(min=1e-6)
        for (begin, end), ramp in zip(spans, ramps, strict=True)
    ]


def _rise(length: int, shared: int, border: float) -> Float[Tensor, " n"]:
    """From 0 to 1 over the middle of the first ``shared`` pixels, 1 after them."""
    place = (torch.arange(length) + 0.5) / shared
    return ((place - border) / (1 - 2 * border)).clamp(0, 1)
