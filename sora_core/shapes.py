"""Sizes and the arithmetic between them: pixels, latents, tokens. The only ``(frames - 1) // 4 + 1`` in the house."""

import math
from dataclasses import dataclass

from sora_core.errors import InputError


@dataclass(frozen=True, slots=True)
class PixelShape:
    """A clip in pixels; a photograph has one frame."""

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class LatentShape:
    """A clip as the autoencoder stores it."""

    channels: int
    frames: int
    height: int
    width: int

    @property
    def num_values(self) -> int:
        return self.channels * self.frames * self.height * self.width

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.channels, self.frames, self.height, self.width


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """A clip as the transformer sees it: ``frames * height * width`` spacetime patches."""

    frames: int
    height: int
    width: int

    @property
    def num_tokens(self) -> int:
        return self.frames * self.height * self.width


@dataclass(frozen=True, slots=True)
class Compression:
    """How many pixels one latent position stands for: ``time`` frames (the first frame alone), ``space`` squared."""

    time: int = 4
    space: int = 8

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip; InputError unless ``frames`` is ``time * k + 1``."""
        if frames < 1 or (frames - 1) % self.time:
            low = max(1, (frames - 1) // self.time * self.time + 1)
            raise InputError(
                f"{frames} frames: this autoencoder needs {self.time}k + 1 frames; use {low} or {low + self.time}"
            )
        return (frames - 1) // self.time + 1

    def pixel_frames(self, latent_frames: int) -> int:
        return (latent_frames - 1) * self.time + 1

    def nearest_frames(self, frames: float) -> int:
        """The encodable number of frames nearest to a length; the longer one on a tie."""
        return self.pixel_frames(max(0, math.floor((frames - 1) / self.time + 0.5)) + 1)

    def trim_frames(self, frames: int) -> int:
        """The largest encodable number of frames that ``frames`` holds."""
        return self.pixel_frames((frames - 1) // self.time + 1)

    def latent(self, pixels: PixelShape, channels: int) -> LatentShape:
        """Latent shape of a clip; InputError unless both sides are multiples of ``space``."""
        if pixels.height % self.space or pixels.width % self.space or min(pixels.height, pixels.width) < 1:
            raise InputError(
                f"size {pixels.width}x{pixels.height}: both sides must be positive multiples of {self.space}"
            )
        return LatentShape(
            channels,
            self.latent_frames(pixels.frames),
            pixels.height // self.space,
            pixels.width // self.space,
        )

    def pixels(self, latent: LatentShape) -> PixelShape:
        return PixelShape(self.pixel_frames(latent.frames), latent.height * self.space, latent.width * self.space)


@dataclass(frozen=True, slots=True)
class Patch:
    """The latent positions that one token covers."""

    time: int = 1
    height: int = 2
    width: int = 2

    def grid(self, latent: LatentShape) -> TokenGrid:
        """Tokens of a latent; InputError unless every side divides."""
        sides = zip((latent.frames, latent.height, latent.width), (self.time, self.height, self.width), strict=True)
        if any(side % patch or side < 1 for side, patch in sides):
            raise InputError(
                f"latent of {latent.frames}x{latent.height}x{latent.width} can't be cut into patches of "
                f"{self.time}x{self.height}x{self.width}: choose a size whose sides are multiples"
            )
        return TokenGrid(latent.frames // self.time, latent.height // self.height, latent.width // self.width)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a picture reaches its stored size: scaled to ``scaled_*``, then cut around the middle."""

    height: int
    width: int
    scaled_height: int
    scaled_width: int


def fit_area(height: int, width: int, max_area: int, multiple: int = 16) -> Fit:
    """The pixel rule: keep the aspect, scale down (never up) to an area, cut less than ``multiple`` pixels a side.

    InputError when a side would fall below ``multiple``.
    """
    scale = min(1.0, math.sqrt(max_area / (height * width)))
    scaled_height, scaled_width = round(height * scale), round(width * scale)
    fit = Fit(
        scaled_height // multiple * multiple,
        scaled_width // multiple * multiple,
        scaled_height,
        scaled_width,
    )
    if not (fit.height and fit.width):
        raise InputError(
            f"a {width}x{height} picture scaled to {max_area} pixels is {scaled_width}x{scaled_height}: "
            f"a side under {multiple}; raise the area or leave the file out"
        )
    return fit
