"""Pixels of an edit: what each window is given, and how windows become a film in which the sources stay exact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from einops import reduce, repeat
from jaxtyping import Bool, Int, UInt8

from sora_core.edits.fill import fade_out, fill
from sora_core.edits.plan import Layer, Plan
from sora_core.edits.spec import Region
from sora_core.edits.windows import Window
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape

Clip = UInt8[np.ndarray, "_ _ _ 3"]
"""Frames (t, h, w, 3) of a size of their own."""
Frames = UInt8[np.ndarray, "t h w 3"]
Mask = Bool[np.ndarray, "t h w"]

_WHITE = 128


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """What a window begins with: ``frames``, of which the ``known`` pixels are given to the model.

    The ``kept`` ones are the result's own, whatever the model makes of them. Below 1, ``strength`` is the share of the
    steps to run: the window starts from the frames, noised so far.
    """

    frames: Frames
    known: Mask
    kept: Mask
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.frames.shape[:3] == self.known.shape == self.kept.shape:
            raise InputError(
                f"frames of {self.frames.shape[:3]}, known {self.known.shape}, kept {self.kept.shape}: give one shape"
            )
        if not 0 < self.strength <= 1:
            raise InputError(f"strength {self.strength}: give more than 0, up to 1")

    @property
    def shape(self) -> PixelShape:
        return PixelShape(*self.known.shape)


def first_frame(image: UInt8[np.ndarray, "h w 3"], num_frames: int) -> Canvas:
    """A still as the first frame of a clip: image to video."""
    known = np.zeros((num_frames, *image.shape[:2]), bool)
    known[0] = True
    return Canvas(np.broadcast_to(image, (num_frames, *image.shape)), known, known)


def make_canvas(plan: Plan, index: int, sources: Sequence[Clip], made: Sequence[Clip]) -> Canvas:
    """The canvas of a window; ``made`` are the earlier windows as `settle` left them.

    Where nothing is known it holds the nearest known pixels, in space or in time, so that the autoencoder's view of
    the given parts isn't spoilt.
    """
    window = plan.windows[index]
    shape = (window.shape.frames, window.shape.height, window.shape.width)
    frames, seen = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
    places = _film_frames(plan, window)
    for source, layer in zip(sources, plan.layers, strict=False):
        if (there := _Overlap.of(layer, window, places)) is not None:
            frames[there.into] = source[there.out_of]
            seen[there.into] = True
    kept = seen & ~_free(plan, window, places, sources)
    for earlier, pixels in zip(plan.windows[:index], made, strict=True):
        mine, theirs = _shared(plan, window, earlier)
        frames[mine] = np.where(kept[mine][..., None], frames[mine], pixels[theirs])
        kept[mine] = True
    known = _hold(frames, kept, plan.hold) if plan.hold > 1 else kept
    fill(frames, known if plan.strength == 1 else seen | known)
    return Canvas(frames, known, kept, plan.strength)


def settle(canvas: Canvas, decoded: Frames) -> Frames:
    """A window as it counts: kept pixels exact; beside them the autoencoder's error fades out, so no seam shows."""
    return np.where(canvas.kept[..., None], canvas.frames, fade_out(canvas.frames, canvas.kept, decoded))


def assemble(plan: Plan, sources: Sequence[Clip], made: Sequence[Clip]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of the film, from all windows as `settle` left them."""
    for number in range(plan.film.frames):
        frame = np.zeros((plan.film.height, plan.film.width, 3), np.uint8)
        whole = Window(number, PixelShape(1, plan.film.height, plan.film.width))
        for source, layer in zip(sources, plan.layers, strict=False):
            if (there := _Overlap.of(layer, whole, np.array([number]))) is not None:
                frame[there.into[1:]] = source[there.out_of][0]
        owner = _owner(plan, number)
        if owner is not None:
            index, local = owner
            window = plan.windows[index]
            rows = slice(window.top, window.top + window.shape.height)
            columns = slice(window.left, window.left + window.shape.width)
            frame[rows, columns] = made[index][local]
        yield frame


def mask_region(mask: Clip) -> Region:
    """The box and the time in which a mask is white. InputError when it is black all over."""
    white = mask[..., 0] >= _WHITE
    if not white.any():
        raise InputError("a mask with nothing white: paint white what shall be made anew")
    spans = [np.flatnonzero(white.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    (start, stop), (top, bottom), (left, right) = ((int(span[0]), int(span[-1]) + 1) for span in spans)
    return Region(start, stop, top, left, bottom - top, right - left)


def latent_mask(known: Mask, compression: Compression, patch: Patch) -> Bool[np.ndarray, "lt lh lw"]:
    """The latents given: those of whole patches of which every pixel is known."""
    frames = reduce(known[1:], "(t time) h w -> t h w", "all", time=compression.time)
    cells = np.concatenate([known[:1], frames])
    across = {"h": compression.space * patch.height, "w": compression.space * patch.width}
    whole = reduce(cells, "(lt t) (lh h) (lw w) -> lt lh lw", "all", t=patch.time, **across)
    sides = {"t": patch.time, "h": patch.height, "w": patch.width}
    given: np.ndarray = repeat(whole, "lt lh lw -> (lt t) (lh h) (lw w)", **sides)
    return given


@dataclass(frozen=True, slots=True)
class _Overlap:
    """Where a layer lies in a window: indices into the window's frames and out of the source's."""

    into: tuple[Int[np.ndarray, " n"], slice, slice]
    out_of: tuple[Int[np.ndarray, " n"], slice, slice]

    @classmethod
    def of(cls, layer: Layer, window: Window, places: Int[np.ndarray, " t"]) -> "_Overlap | None":
        """``places`` are the film's frames of the window."""
        number, rest = np.divmod(places - layer.at, layer.step)
        (shown,) = np.nonzero((rest == 0) & (number >= 0) & (number < layer.shape.frames))
        top, bottom = _meet(window.top, window.shape.height, layer.top, layer.shape.height)
        left, right = _meet(window.left, window.shape.width, layer.left, layer.shape.width)
        if not len(shown) or top >= bottom or left >= right:
            return None
        into = shown, slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
        rows, columns = slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left)
        return cls(into, (number[shown], rows, columns))


def _meet(begin: int, length: int, other: int, other_length: int) -> tuple[int, int]:
    return max(begin, other), min(begin + length, other + other_length)


def _film_frames(plan: Plan, window: Window) -> Int[np.ndarray, " t"]:
    """The film's frame at each of a window's; it may lie beyond the film."""
    places = window.start + np.arange(window.shape.frames)
    return places % plan.film.frames if plan.cyclic else places


def _shared(plan: Plan, window: Window, earlier: Window) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The frames that two windows share, as indices into each; all windows of a plan have the same place and size."""
    offsets = _film_frames(plan, window) - earlier.start
    offsets = offsets % plan.film.frames if plan.cyclic else offsets
    (mine,) = np.nonzero((offsets >= 0) & (offsets < earlier.shape.frames))
    return mine, offsets[mine]


def _owner(plan: Plan, number: int) -> tuple[int, int] | None:
    """The earliest window that shows a frame of the film, and which of its frames that is."""
    for index, window in enumerate(plan.windows):
        local = (number - window.start) % plan.film.frames if plan.cyclic else number - window.start
        if 0 <= local < window.shape.frames:
            return index, local
    return None


def _free(plan: Plan, window: Window, places: Int[np.ndarray, " t"], sources: Sequence[Clip]) -> Mask:
    """Which pixels of a window are made anew although a source lies there."""
    free = np.zeros((window.shape.frames, window.shape.height, window.shape.width), bool)
    for region in plan.free:
        (during,) = np.nonzero((places >= region.start) & (places < region.stop))
        top, bottom = _meet(window.top, window.shape.height, region.top, region.height)
        left, right = _meet(window.left, window.shape.width, region.left, region.width)
        box = slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
        free[(during, *box)] = True
    if plan.masked:
        mask = sources[len(plan.layers)]
        rows = slice(window.top, window.top + window.shape.height)
        columns = slice(window.left, window.left + window.shape.width)
        free &= mask[places.clip(0, len(mask) - 1), rows, columns, 0] >= _WHITE
    return free


def _hold(frames: Frames, kept: Mask, hold: int) -> Mask:
    """Stills held over all frames of their latent one; gives what is known then."""
    known = kept.copy()
    for number in np.flatnonzero(reduce(kept, "t h w -> t", "any")):
        if number:
            first = (number - 1) // hold * hold + 1
            frames[first : first + hold], known[first : first + hold] = frames[number], kept[number]
    return known
