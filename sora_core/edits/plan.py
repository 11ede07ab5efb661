"""From an edit to the windows that make it: each a clip that the model can hold, all of them known before any work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sora_core.edits.spec import (
    Edit,
    Extend,
    Interpolate,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
    check_learned,
)
from sora_core.errors import InputError
from sora_core.shapes import Compression, Patch, PixelShape

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
        rows, columns = (side // self.compression.space for side in (height, width))
        a_frame = (rows // self.patch.height) * (columns // self.patch.width)
        most = min(self.max_tokens // a_frame, self.max_side_tokens)
        if most < 2 or max(rows // self.patch.height, columns // self.patch.width) > self.max_side_tokens:
            raise InputError(
                f"a frame of {width}x{height} is {a_frame} tokens: this model takes {self.max_tokens} in a window and "
                f"{self.max_side_tokens} along a side; use a smaller size"
            )
        return max(min(self.usual_tokens // a_frame, most), min(_LEAST_LATENTS, most))

    def before(self, longest: int) -> int:
        """Latent frames of context at a window's beginning; the first one holds a single frame."""
        return 1 + longest // _CONTEXT_SHARE if "prefix" in self.given else 1


@dataclass(frozen=True, slots=True)
class Layer:
    """A source on the film: its frame ``i`` lies at the film's frame ``at + i * step``, its corner at ``top, left``."""

    shape: PixelShape
    at: int = 0
    top: int = 0
    left: int = 0
    step: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """A clip to generate: the film from frame ``start`` and corner ``top, left`` on. It may reach beyond the film."""

    start: int
    shape: PixelShape
    top: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The film, the sources on it, and the windows that make the rest, in order; the earliest window owns a frame.

    ``free`` are regions made anew although a source lies there; with a mask (the source after the layers') only where
    it is white. In a ``cyclic`` film the first frame follows the last. A still is given to the model for ``hold``
    frames, those of its latent one. ``strength`` is the share of the steps to run.
    """

    film: PixelShape
    layers: tuple[Layer, ...]
    windows: tuple[Window, ...]
    free: tuple[Region, ...] = ()
    masked: bool = False
    cyclic: bool = False
    hold: int = 1
    strength: float = 1.0


def plan_windows(edit: Edit, sources: Sequence[PixelShape], room: Room) -> Plan:
    """The windows of an edit of these sources; a mask is the last of them.

    InputError, with the numbers and the remedy, for what the model wasn't trained for or can't hold.
    """
    check_learned(edit, room.given)
    match edit:
        case Keyframes():
            return _keyframes(edit, sources, room)
        case Extend():
            return _extend(edit, _one(sources), room)
        case Loop():
            return _loop(edit, sources, room)
        case Transition():
            return _transition(edit, sources, room)
        case Interpolate():
            return _interpolate(edit, _one(sources), room)
        case Restyle():
            source = _one(sources)
            windows = _cover(0, source.frames, source, room)
            whole = Region(0, source.frames, 0, 0, source.height, source.width)
            return Plan(source, (Layer(source),), windows, free=(whole,), strength=_checked(edit.strength))
        case Repaint():
            return _repaint(edit, sources, room)
        case Outpaint():
            return _outpaint(edit, _one(sources), room)


def _keyframes(edit: Keyframes, sources: Sequence[PixelShape], room: Room) -> Plan:
    film = edit.film
    _count(sources, len(edit.indices))
    for source in sources:
        if source != PixelShape(1, film.height, film.width):
            raise InputError(f"a still of {source} for a film of {film}: fit it to one frame of that size")
    longest, latents = room.longest(film.height, film.width), room.compression.latent_frames(film.frames)
    if latents > longest and latents * _tokens_a_frame(film, room) > room.max_tokens:
        raise InputError(f"{film} is too long for one window: use {room.compression.pixel_frames(longest)} frames")
    places = [-(-index // room.compression.time) for index in edit.indices]
    if not all(0 <= index < film.frames for index in edit.indices) or len(set(places)) < len(places):
        raise InputError(
            f"stills at {list(edit.indices)} of {film.frames} frames: give different places, "
            f"{room.compression.time} frames or more apart"
        )
    layers = tuple(Layer(source, at=index) for source, index in zip(sources, edit.indices, strict=True))
    return Plan(film, layers, (Window(0, film),), hold=room.compression.time)


def _extend(edit: Extend, source: PixelShape, room: Room) -> Plan:
    if edit.num_frames < 1:
        raise InputError(f"{edit.num_frames} new frames: give 1 or more")
    film = PixelShape(source.frames + edit.num_frames, source.height, source.width)
    if edit.direction == "forward":
        return Plan(
            film, (Layer(source),), tuple(_forward(source.frames, edit.num_frames, source.frames, 0, film, room))
        )
    layers = (Layer(source, at=edit.num_frames),)
    return Plan(film, layers, tuple(_backward(edit.num_frames, source.frames, film, room)))


def _loop(edit: Loop, sources: Sequence[PixelShape], room: Room) -> Plan:
    new = _whole_latents(edit.num_frames, room)
    _count(sources, 0 if edit.film else 1)
    clip = edit.film or sources[0]
    film = PixelShape(clip.frames + new, clip.height, clip.width)
    first = () if edit.film is None else (Window(0, clip),)
    if edit.film is not None:
        room.compression.latent_frames(clip.frames)
        room.longest(clip.height, clip.width)
    rest = tuple(_forward(clip.frames, new, clip.frames, clip.frames, film, room))
    return Plan(film, tuple(Layer(source) for source in sources), (*first, *rest), cyclic=True)


def _transition(edit: Transition, sources: Sequence[PixelShape], room: Room) -> Plan:
    new = _whole_latents(edit.num_frames, room)
    _count(sources, 2)
    a, b = sources
    if (a.height, a.width) != (b.height, b.width):
        raise InputError(f"clips of {a} and {b}: fit the second to the size of the first")
    film = PixelShape(a.frames + new + b.frames, a.height, a.width)
    windows = tuple(_forward(a.frames, new, a.frames, b.frames, film, room))
    return Plan(film, (Layer(a), Layer(b, at=a.frames + new)), windows)


def _interpolate(edit: Interpolate, source: PixelShape, room: Room) -> Plan:
    if edit.factor < 2 or source.frames < 2:
        raise InputError(f"{source.frames} frames at {edit.factor} times their rate: give 2 frames and a factor of 2")
    film = PixelShape((source.frames - 1) * edit.factor + 1, source.height, source.width)
    windows = _cover(0, film.frames, film, room)
    return Plan(film, (Layer(source, step=edit.factor),), windows, strength=_checked(edit.strength))


def _repaint(edit: Repaint, sources: Sequence[PixelShape], room: Room) -> Plan:
    _count(sources, 2 if edit.masked else 1)
    film = sources[0]
    if edit.masked and sources[1] not in (film, PixelShape(1, film.height, film.width)):
        raise InputError(f"a mask of {sources[1]} for a video of {film}: give one still or as many frames, of its size")
    for region in edit.regions:
        inside = region.top + region.height <= film.height and region.left + region.width <= film.width
        filled = 0 <= region.start < region.stop <= film.frames and min(region.height, region.width) > 0
        if not (inside and filled and min(region.top, region.left) >= 0):
            raise InputError(f"{region} doesn't lie in a video of {film}: give a box within it")
    if not edit.regions:
        raise InputError("nothing to repaint: give a box, or a mask with something white")
    crop = _crop(edit.regions, film, room)
    longest = room.longest(crop.height, crop.width)
    time = room.compression.time
    start = max(0, min(region.start for region in edit.regions) - time * (room.before(longest) - 1) - 1)
    stop = min(film.frames, max(region.stop for region in edit.regions) + time * _after(longest))
    start = max(0, min(start, film.frames - room.compression.pixel_frames(1 + -(-(stop - start - 1) // time))))
    windows = _cover(start, stop, PixelShape(film.frames, crop.height, crop.width), room, crop.top, crop.left)
    return Plan(film, (Layer(film),), windows, edit.regions, edit.masked, strength=_checked(edit.strength))


def _outpaint(edit: Outpaint, source: PixelShape, room: Room) -> Plan:
    film = PixelShape(source.frames, edit.height, edit.width)
    beyond = edit.top + source.height > edit.height or edit.left + source.width > edit.width
    if beyond or min(edit.top, edit.left) < 0:
        raise InputError(f"a picture of {source} at {edit.top}, {edit.left} doesn't lie in {film}: enlarge that")
    return Plan(film, (Layer(source, top=edit.top, left=edit.left),), _cover(0, film.frames, film, room))


def _forward(begin: int, new: int, before: int, after: int, film: PixelShape, room: Room) -> Iterator[Window]:
    """Windows of ``new`` frames from the film's frame ``begin`` on, after ``before`` frames that are there.

    With frames ``after`` them, the last window ends on some of those.
    """
    longest, time = room.longest(film.height, film.width), room.compression.time
    ending = min(_after(longest), after // time)
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


def _backward(new: int, after: int, film: PixelShape, room: Room) -> Iterator[Window]:
    """Windows of ``new`` frames before the film's frame ``new``, the latest first."""
    longest, time = room.longest(film.height, film.width), room.compression.time
    while new > 0:
        context = min(_after(longest), after // time)
        if context < 1:
            raise InputError(f"{after} frames: what comes before a clip needs {time} frames of it or more")
        made = room.compression.pixel_frames(min(1 + -(-(new - 1) // time), longest - context))
        yield Window(new - made, PixelShape(made + time * context, film.height, film.width))
        new, after = new - made, after + made


def _cover(start: int, stop: int, size: PixelShape, room: Room, top: int = 0, left: int = 0) -> tuple[Window, ...]:
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


def _crop(regions: Sequence[Region], film: PixelShape, room: Room) -> Region:
    """What must be computed to repaint the regions: they and a margin, in whole tokens."""
    top, bottom = _span([(one.top, one.top + one.height) for one in regions], film.height, room.multiple_of)
    left, right = _span([(one.left, one.left + one.width) for one in regions], film.width, room.multiple_of)
    return Region(0, film.frames, top, left, bottom - top, right - left)


def _span(spans: Sequence[tuple[int, int]], length: int, multiple: int) -> tuple[int, int]:
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    margin = max(multiple, (high - low) // _MARGIN_SHARE)
    return max(0, low - margin) // multiple * multiple, min(length, -(-(high + margin) // multiple) * multiple)


def _after(longest: int) -> int:
    """Latent frames of context at a window's end."""
    return max(1, longest // _CONTEXT_SHARE)


def _whole_latents(frames: int, room: Room) -> int:
    """The frames rounded up to whole latent ones, for something lies on both sides."""
    if frames < 1:
        raise InputError(f"{frames} new frames: give 1 or more")
    return -(-frames // room.compression.time) * room.compression.time


def _tokens_a_frame(size: PixelShape, room: Room) -> int:
    still = PixelShape(1, size.height, size.width)
    return room.patch.grid(room.compression.latent(still, channels=1)).num_tokens


def _checked(strength: float) -> float:
    if not 0 < strength <= 1:
        raise InputError(f"strength {strength}: give more than 0, up to 1")
    return strength


def _count(sources: Sequence[PixelShape], expected: int) -> None:
    if len(sources) != expected:
        raise InputError(f"{len(sources)} sources: this edit takes {expected}")


def _one(sources: Sequence[PixelShape]) -> PixelShape:
    _count(sources, 1)
    return sources[0]
