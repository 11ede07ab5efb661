"""Clips of different shapes as one sequence of tokens, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from sora_core.errors import InputError
from sora_core.nn.attention import Segments
from sora_core.nn.transfer import upload
from sora_core.nn.ulysses import PartSegments
from sora_core.shapes import LatentShape, Patch, TokenGrid

REFERENCE_TIME = 64
"""How far before a clip its reference lies in time, a second one twice as far: no frames of it, nor near them."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip at one moment of its denoising.

    ``sigma`` is its noise level, or one for each token in the order time, height, width (0 for a given token); ``text``
    holds the states as the encoder gave them, unpadded; ``image`` the image tokens that Wan 2.1 I2V attends to.
    ``references`` are clean latents of any size that the clip's tokens attend to, and that are no part of it.
    """

    latent: Float[Tensor, "c t h w"]
    sigma: float | Float[Tensor, " n"]
    text: Float[Tensor, "m d"]
    image: Float[Tensor, "k e"] | None = None
    references: tuple[Float[Tensor, "c _ _ _"], ...] = ()


@dataclass(frozen=True, slots=True)
class Pack:
    """Clips one after another, each followed by its references, whose noise level is 0.

    Values of a token are ordered (c, pt, ph, pw), tokens of a clip (t, h, w); ``grids`` are those of the clips alone.

    ``levels`` are the distinct noise levels of each clip, one clip after another; ``level`` says which one a token has
    and ``level_clip`` whose it is: what depends on the noise level alone is computed once for each. ``given`` says, on
    the host, which tokens of each clip have level 0, None where none has.
    """

    tokens: Float[Tensor, "l p"]
    position: Int[Tensor, "l 3"]
    levels: Float[Tensor, " r"]
    level: Int[Tensor, " l"]
    level_clip: Int[Tensor, " r"]
    segments: Segments
    text: Float[Tensor, "m d"]
    text_segments: Segments
    image: Float[Tensor, "k e"] | None
    image_segments: Segments | None
    grids: tuple[TokenGrid, ...]
    patch: Patch
    given: tuple[Bool[Tensor, " _"] | None, ...]

    @property
    def sigma(self) -> Float[Tensor, " l"]:
        """The noise level of each token."""
        return self.levels[self.level]

    @property
    def cu_seqlens(self) -> Int32[Tensor, " n_plus_1"]:
        return self.segments.offsets

    @property
    def cu_text(self) -> Int32[Tensor, " n_plus_1"]:
        return self.text_segments.offsets

    @property
    def num_tokens(self) -> int:
        return self.segments.total

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Pack":
        """The pack on a device; ``dtype`` is for tokens, text and image (noise levels stay float32)."""
        return replace(
            self,
            tokens=upload(self.tokens, device).to(device, dtype),
            position=upload(self.position, device),
            levels=upload(self.levels, device),
            level=upload(self.level, device),
            level_clip=upload(self.level_clip, device),
            segments=self.segments.to(device),
            text=upload(self.text, device).to(device, dtype),
            text_segments=self.text_segments.to(device),
            image=None if self.image is None else upload(self.image, device).to(device, dtype),
            image_segments=None if self.image_segments is None else self.image_segments.to(device),
        )


def part(pack: Pack, index: int, count: int) -> Pack:
    """Part ``index`` of ``count`` of a pack's tokens, for a model whose self-attention spans the workers of a group."""
    segments = PartSegments.cut(pack.segments, index, count)
    own = slice(segments.tokens.start, segments.tokens.stop)
    return replace(pack, tokens=pack.tokens[own], position=pack.position[own], level=pack.level[own], segments=segments)


def patchify(latent: Float[Tensor, "c t h w"], patch: Patch) -> Float[Tensor, "l p"]:
    """Tokens of a latent; InputError when a side doesn't divide by the patch."""
    patch.grid(LatentShape(*latent.shape))
    tokens: Tensor = rearrange(
        latent,
        "c (t pt) (h ph) (w pw) -> (t h w) (c pt ph pw)",
        pt=patch.time,
        ph=patch.height,
        pw=patch.width,
    )
    return tokens


def unpatchify(tokens: Float[Tensor, "l p"], grid: TokenGrid, patch: Patch) -> Float[Tensor, "c t h w"]:
    """The latent whose tokens these are."""
    latent: Tensor = rearrange(
        tokens,
        "(t h w) (c pt ph pw) -> c (t pt) (h ph) (w pw)",
        t=grid.frames,
        h=grid.height,
        w=grid.width,
        pt=patch.time,
        ph=patch.height,
        pw=patch.width,
    )
    return latent


def grid_positions(grid: TokenGrid) -> Int[Tensor, "l 3"]:
    """(t, h, w) of every token of a clip."""
    axes = torch.meshgrid(torch.arange(grid.frames), torch.arange(grid.height), torch.arange(grid.width), indexing="ij")
    return torch.stack(axes, dim=-1).flatten(0, 2)


def pack(clips: Sequence[Clip], patch: Patch = Patch()) -> Pack:  # noqa: B008 - a frozen value
    """One sequence of the clips in their order.

    InputError for an empty list, a latent that the patch doesn't divide, or a sigma count that isn't the token count.
    """
    if not clips:
        raise InputError("nothing to pack: give at least one clip")
    grids = tuple(patch.grid(LatentShape(*clip.latent.shape)) for clip in clips)
    device = clips[0].latent.device
    positions = [_positions(clip, grid, patch) for clip, grid in zip(clips, grids, strict=True)]
    levels, level, level_clip, given, seen = [], [], [], [], 0
    for index, (clip, grid) in enumerate(zip(clips, grids, strict=True)):
        values, which = _levels(clip, grid.num_tokens, len(positions[index]), index)
        levels.append(values)
        level.append(which + seen)
        level_clip.append(torch.full_like(values, index, dtype=torch.long))
        given.append(_given(clip, values, which))
        seen += len(values)
    images = _images(clips)
    return Pack(
        tokens=torch.cat([patchify(latent, patch) for clip in clips for latent in (clip.latent, *clip.references)]),
        position=upload(torch.cat(positions), device),
        levels=upload(torch.cat(levels), device),
        level=upload(torch.cat(level), device),
        level_clip=upload(torch.cat(level_clip), device),
        segments=Segments.of(tuple(map(len, positions)), device),
        text=torch.cat([clip.text for clip in clips]),
        text_segments=Segments.of(tuple(len(clip.text) for clip in clips), device),
        image=torch.cat(images) if images else None,
        image_segments=Segments.of(tuple(map(len, images)), device) if images else None,
        grids=grids,
        patch=patch,
        given=tuple(given),
    )


def _positions(clip: Clip, grid: TokenGrid, patch: Patch) -> Int[Tensor, "l 3"]:
    """(t, h, w) of every token of a clip, then of its references."""
    positions = [grid_positions(grid)]
    for number, reference in enumerate(clip.references, start=1):
        position = grid_positions(patch.grid(LatentShape(*reference.shape)))
        positions.append(position - torch.tensor([number * REFERENCE_TIME, 0, 0]))
    return torch.cat(positions)


def _levels(
    clip: Clip, num_tokens: int, with_references: int, index: int
) -> tuple[Float[Tensor, " r"], Int[Tensor, " l"]]:
    """Distinct noise levels of a clip, and which one each token has, its references' included."""
    sigma = clip.sigma.cpu() if isinstance(clip.sigma, Tensor) else clip.sigma
    if not isinstance(sigma, Tensor) or sigma.ndim == 0:
        if with_references == num_tokens:
            return torch.tensor([float(sigma)]), torch.zeros(num_tokens, dtype=torch.long)
        sigma = torch.full((num_tokens,), float(sigma))
    if sigma.shape != (num_tokens,):
        raise InputError(
            f"clip {index} has {num_tokens} tokens but sigma of shape {tuple(sigma.shape)}: "
            f"give one number, or one for each token"
        )
    whole = torch.cat([sigma.float(), sigma.new_zeros(with_references - num_tokens, dtype=torch.float32)])
    values, which = torch.unique(whole, return_inverse=True)
    return values, which


def _given(clip: Clip, values: Float[Tensor, " r"], which: Int[Tensor, " l"]) -> Bool[Tensor, " l"] | None:
    """Which tokens of a clip, or of its references, have noise level 0; None where none has."""
    if len(values) == 1 and not isinstance(clip.sigma, Tensor):  # a pack without numbers can be made then, too
        return None if clip.sigma else torch.ones_like(which, dtype=torch.bool)
    clean = values == 0
    return clean[which] if bool(clean.any()) else None


def _images(clips: Sequence[Clip]) -> list[Float[Tensor, "k e"]]:
    """The image tokens of all clips, or none; InputError when some have them and some don't."""
    images = [clip.image for clip in clips if clip.image is not None]
    if images and len(images) != len(clips):
        raise InputError(
            f"{len(images)} of {len(clips)} clips carry image tokens: a pack needs them for all clips or for none"
        )
    return images


def unpack(pack: Pack, tokens: Float[Tensor, "l q"]) -> list[Float[Tensor, "c t h w"]]:
    """The latents whose tokens these are, clip by clip without references; a model may give other channels than it
    was fed."""
    parts = pack.segments.split(tokens)
    return [unpatchify(part[: grid.num_tokens], grid, pack.patch) for part, grid in zip(parts, pack.grids, strict=True)]
