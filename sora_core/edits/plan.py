"""From an edit to the windows that make it: each a clip that the model can hold, all of them known before any work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from sora_core.edits.spec import (
    Edit,
    Extend,
    Interpolate,
    Join,
    Keyframes,
    Loop,
    Outpaint,
    Region,
    Repaint,
    Restyle,
    Transition,
    check_learned,
)
from sora_core.edits.windows import (
    Room,
    Window,
    backward,
    context_after,
    cover,
    crop,
    forward,
    whole_latents,
)
from sora_core.errors import InputError
from sora_core.shapes import PixelShape


@dataclass(frozen=True, slots=True)
class Layer:
    """A source on the film: its frame ``i`` lies at the film's frame ``at + i * step``, its corner at ``top, left``."""

    shape: PixelShape
    at: int = 0
    top: int = 0
    left: int = 0
    step: int = 1


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
            windows = cover(0, source.frames, source, room)
            whole = Region(0, source.frames, 0, 0, source.height, source.width)
            return Plan(source, (Layer(source),), windows, free=(whole,), strength=_checked(edit.strength))
        case Repaint():
            return _repaint(edit, sources, room)
        case Outpaint():
            return _outpaint(edit, _one(sources), room)
        case Join():
            return _join(sources)


def _keyframes(edit: Keyframes, sources: Sequence[PixelShape], room: Room) -> Plan:
    film = edit.film
    _count(sources, len(edit.indices))
    for source in sources:
        if source != PixelShape(1, film.height, film.width):
            raise InputError(f"a still of {source} for a film of {film}: fit it to one frame of that size")
    longest, latents = room.longest(film.height, film.width), room.compression.latent_frames(film.frames)
    if latents > longest and latents * room.grid_of_frame(film.height, film.width).num_tokens > room.max_tokens:
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
            film, (Layer(source),), tuple(forward(source.frames, edit.num_frames, source.frames, 0, film, room))
        )
    layers = (Layer(source, at=edit.num_frames),)
    return Plan(film, layers, tuple(backward(edit.num_frames, source.frames, film, room)))


def _loop(edit: Loop, sources: Sequence[PixelShape], room: Room) -> Plan:
    new = whole_latents(edit.num_frames, room)
    _count(sources, 0 if edit.film else 1)
    clip = edit.film or sources[0]
    film = PixelShape(clip.frames + new, clip.height, clip.width)
    first = () if edit.film is None else (Window(0, clip),)
    if edit.film is not None:
        room.compression.latent_frames(clip.frames)
        room.longest(clip.height, clip.width)
    rest = tuple(forward(clip.frames, new, clip.frames, clip.frames, film, room))
    return Plan(film, tuple(Layer(source) for source in sources), (*first, *rest), cyclic=True)


def _transition(edit: Transition, sources: Sequence[PixelShape], room: Room) -> Plan:
    new = whole_latents(edit.num_frames, room)
    _count(sources, 2)
    a, b = sources
    if (a.height, a.width) != (b.height, b.width):
        raise InputError(f"clips of {a} and {b}: fit the second to the size of the first")
    film = PixelShape(a.frames + new + b.frames, a.height, a.width)
    windows = tuple(forward(a.frames, new, a.frames, b.frames, film, room))
    return Plan(film, (Layer(a), Layer(b, at=a.frames + new)), windows)


def _join(sources: Sequence[PixelShape]) -> Plan:
    if not sources or len({(source.height, source.width) for source in sources}) > 1:
        raise InputError(f"clips of {[str(source) for source in sources]}: give one or more of one size")
    starts = accumulate((source.frames for source in sources), initial=0)
    layers = tuple(Layer(source, at=at) for source, at in zip(sources, starts, strict=False))
    return Plan(replace(sources[0], frames=sum(source.frames for source in sources)), layers, ())


def _interpolate(edit: Interpolate, source: PixelShape, room: Room) -> Plan:
    if edit.factor < 2 or source.frames < 2:
        raise InputError(f"{source.frames} frames at {edit.factor} times their rate: give 2 frames and a factor of 2")
    film = PixelShape((source.frames - 1) * edit.factor + 1, source.height, source.width)
    windows = cover(0, film.frames, film, room)
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
    box = crop(edit.regions, film, room)
    longest = room.longest(box.height, box.width)
    time = room.compression.time
    start = max(0, min(region.start for region in edit.regions) - time * (room.before(longest) - 1) - 1)
    stop = min(film.frames, max(region.stop for region in edit.regions) + time * context_after(longest))
    start = max(0, min(start, film.frames - room.compression.pixel_frames(1 + -(-(stop - start - 1) // time))))
    windows = cover(start, stop, PixelShape(film.frames, box.height, box.width), room, box.top, box.left)
    return Plan(film, (Layer(film),), windows, edit.regions, edit.masked, strength=_checked(edit.strength))


def _outpaint(edit: Outpaint, source: PixelShape, room: Room) -> Plan:
    film = PixelShape(source.frames, edit.height, edit.width)
    beyond = edit.top + source.height > edit.height or edit.left + source.width > edit.width
    if beyond or min(edit.top, edit.left) < 0:
        raise InputError(f"a picture of {source} at {edit.top}, {edit.left} doesn't lie in {film}: enlarge that")
    return Plan(film, (Layer(source, top=edit.top, left=edit.left),), cover(0, film.frames, film, room))


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
