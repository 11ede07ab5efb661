"""Where windows lie in time and space: as much context as a model can use, and never more than it can hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sora_core.edits.spec import Region
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape, TokenGrid

# Of a window's latent frames, one in so many are context on each side: what is made goes on from motion, not a still.
_CONTEXT_SHARE = 4
# A window is this many latent frames long where larger pictures than in training would leave fewer, if memory allows.
_LEAST_LATENTS = 5
# Pixels around what is repainted, in parts of its longer side: what the model sees of the surroundings.
_MARGIN_SHARE = 4


@dataclass(frozen=True, slots=True)
class Room:
    """What a window of a model holds: ``usual_tokens`` as in training, ``max_tokens`` at most; ``given`` as learned."""

    compression: Compression
    patch: Patch
    usual_tokens: int
    max_tokens: int
    max_side_tokens: int
    given: frozenset[str]

    @property
    def multiple_of(self) -> int:
        """Pixels that both sides of a window are multiples of."""
        return self.compression.space * max(self.patch.height, self.patch.width)

    def longest(self, height: int, width: int) -> int:
        """Most latent frames of a window of this size. InputError when it can't be held."""
        if height % self.multiple_of or width % self.multiple_of or min(height, width) < self.multiple_of:
            raise InputError(f"size {width}x{height}: both sides must be positive multiples of {self.multiple_of}")
        grid = self.grid_of_frame(height, width)
        a_frame = grid.num_tokens
        most = min(self.max_tokens // a_frame, self.max_side_tokens)
        if most < 2 or max(grid.height, grid.width) > self.max_side_tokens:
            raise InputError(
                f"a frame of {width}x{height} is {a_frame} tokens: this model takes {self.max_tokens} in a window and "
                f"{self.max_side_tokens} along a side; use a smaller size"
            )
        return max(min(self.usual_tokens // a_frame, most), min(_LEAST_LATENTS, most))

    def grid_of_frame(self, height: int, width: int) -> TokenGrid:
        """The tokens of one latent frame of this size."""
        return self.patch.grid(self.compression.latent(PixelShape(1, height, width), channels=1))

    def before(self, longest: int) -> int:
        """Latent frames of context at a window's beginning; the first one holds a single frame."""
        return 1 + longest // _CONTEXT_SHARE if "prefix" in self.given else 1


@dataclass(frozen=True, slots=True)
class Window:
    """A clip to generate: the film from frame ``start`` and corner ``top, left`` on. It may reach beyond the film."""

    start: int
    shape: PixelShape
    top: int = 0
    left: int = 0


def forward(begin: int, new: int, before: int, after: int, film: PixelShape, room: Room) -> Iterator[Window]:
    """Windows of ``new`` frames from the film's frame ``begin`` on, after ``before`` frames that are there.

    With frames ``after`` them, the last window ends on some of those.
    """
    longest, time = room.longest(film.height, film.width), room.compression.time
    ending = min(context_after(longest), after // time)
    if after and (ending < 1 or longest < 3):
        raise InputError(
            f"{after} frames to end on, windows of {room.compression.pixel_frames(longest)} frames: "
            f"give a clip of {time} frames or more, or a smaller size"
        )
    left = -(-new // time)
    while left:
        context = min(room.before(longest), (before - 1) // time + 1)
        is_last = context + left + ending <= longest
        take = left if is_last else min(longest - context, left - 1 if ending else left)
        frames = room.compression.pixel_frames(context + take + (ending if is_last else 0))
        yield Window(begin - room.compression.pixel_frames(context), PixelShape(frames, film.height, film.width))
        begin, before, left = begin + time * take, before + time * take, left - take


def backward(new: int, after: int, film: PixelShape, room: Room) -> Iterator[Window]:
    """Windows of ``new`` frames before the film's frame ``new``, the latest first."""
    longest, time = room.longest(film.height, film.width), room.compression.time
    while new > 0:
        context = min(context_after(longest), after // time)
        if context < 1:
            raise InputError(f"{after} frames: what comes before a clip needs {time} frames of it or more")
        made = room.compression.pixel_frames(min(1 + -(-(new - 1) // time), longest - context))
        yield Window(new - made, PixelShape(made + time * context, film.height, film.width))
        new, after = new - made, after + made


def cover(start: int, stop: int, size: PixelShape, room: Room, top: int = 0, left: int = 0) -> tuple[Window, ...]:
    """Windows from ``start`` to ``stop``, each beginning on the last frames of the one before."""
    longest, time = room.longest(size.height, size.width), room.compression.time
    context = room.compression.pixel_frames(min(room.before(longest), longest - 1))
    windows = []
    while True:
        latents = min(longest, 1 + -(-(stop - start - 1) // time))
        frames = room.compression.pixel_frames(latents)
        windows.append(Window(start, PixelShape(frames, size.height, size.width), top, left))
        if start + frames >= stop:
            break
        start += frames - context
    if len(windows) > 1 and room.given.isdisjoint({"prefix", "first_frame"}):
        raise InputError(
            f"{stop} frames of {size.width}x{size.height} need {len(windows)} windows, and this model was not trained "
            f"to go on from given frames: use {windows[0].shape.frames} frames or fewer"
        )
    return tuple(windows)


def crop(regions: Sequence[Region], film: PixelShape, room: Room) -> Region:
    """What must be computed to repaint the regions: they and a margin, in whole tokens."""
    top, bottom = _span([(one.top, one.top + one.height) for one in regions], film.height, room.multiple_of)
    left, right = _span([(one.left, one.left + one.width) for one in regions], film.width, room.multiple_of)
    return Region(0, film.frames, top, left, bottom - top, right - left)


def _span(spans: Sequence[tuple[int, int]], length: int, multiple: int) -> tuple[int, int]:
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    margin = max(multiple, (high - low) // _MARGIN_SHARE)
    return max(0, low - margin) // multiple * multiple, min(length, -(-(high + margin) // multiple) * multiple)


def context_after(longest: int) -> int:
    """Latent frames of context at a window's end."""
    return max(1, longest // _CONTEXT_SHARE)


def whole_latents(frames: int, room: Room) -> int:
    """The frames rounded up to whole latent ones, for something lies on both sides."""
    if frames < 1:
        raise InputError(f"{frames} new frames: give 1 or more")
    return -(-frames // room.compression.time) * room.compression.time
