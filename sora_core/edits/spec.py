"""What is asked of an edit: numbers in pixels and frames of the film that it makes, and what a model must have learned.

The film is at the model's own rate and its sources are scaled by the pixel rule already.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sora_core.errors import InputError
from sora_core.shapes import PixelShape


@dataclass(frozen=True, slots=True)
class Region:
    """A box of the film: frames from ``start`` up to ``stop``, and pixels from its upper left corner on."""

    start: int
    stop: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Keyframes:
    """Stills, each a source of one frame, at these frames of a new film.

    Index 0 alone is image to video; without any it is a film of words alone.
    """

    indices: tuple[int, ...]
    film: PixelShape


@dataclass(frozen=True, slots=True)
class Extend:
    """``num_frames`` new ones after the source, or before it."""

    num_frames: int
    direction: Literal["forward", "backward"] = "forward"


@dataclass(frozen=True, slots=True)
class Loop:
    """The source and about ``num_frames`` new ones that lead from its end to its beginning.

    Without a source, ``film`` is the shape of the clip that the prompt makes first.
    """

    num_frames: int
    film: PixelShape | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """Two sources of one size, and about ``num_frames`` new ones that lead from the first to the second."""

    num_frames: int


@dataclass(frozen=True, slots=True)
class Interpolate:
    """The source at ``factor`` times its rate; what lies between its frames starts as a blend of them."""

    factor: int
    strength: float = 0.4


@dataclass(frozen=True, slots=True)
class Restyle:
    """The source again by the prompt: of all steps the last ``strength``, from the source noised so far."""

    strength: float = 0.7


@dataclass(frozen=True, slots=True)
class Repaint:
    """The source with ``regions`` made anew; when ``masked`` only where the second source, a mask, is white."""

    regions: tuple[Region, ...]
    masked: bool = False
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Outpaint:
    """The source in a larger picture, its upper left corner at ``top, left``; what is around it is new."""

    height: int
    width: int
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class Join:
    """Sources of one size, one after another. Nothing is made, so any model will do, and none is run."""


Edit = Keyframes | Extend | Loop | Transition | Interpolate | Restyle | Repaint | Outpaint | Join

_KINDS: Mapping[str, type[Edit]] = MappingProxyType(
    {
        "keyframes": Keyframes,
        "extend": Extend,
        "loop": Loop,
        "transition": Transition,
        "interpolate": Interpolate,
        "restyle": Restyle,
        "repaint": Repaint,
        "outpaint": Outpaint,
        "join": Join,
    }
)

# What an edit asks of a model: to have trained with one of these kinds of given latents; with none, anything will do.
_BEGINNINGS = frozenset({"first_frame", "prefix"})
LEARNED_FROM: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "first_frame": _BEGINNINGS,
        "last_frame": frozenset({"last_frame", "suffix"}),
        "both_ends": frozenset({"both_ends", "keyframes"}),
        "keyframes": frozenset({"keyframes"}),
        "extend_forward": _BEGINNINGS,
        "extend_backward": frozenset({"suffix"}),
        "loop": frozenset({"around_the_middle"}),
        "transition": frozenset({"around_the_middle"}),
        "interpolate": _BEGINNINGS,
        "restyle": frozenset(),
        "repaint": frozenset({"outside_a_box", "outside_boxes"}),
        "outpaint": frozenset({"inside_a_box"}),
        "character": frozenset({"reference"}),
    }
)


def ability(edit: Edit) -> str | None:
    """The name, among those of `LEARNED_FROM`, of what an edit asks of a model; None for one of words alone, or of
    sources alone."""
    if isinstance(edit, Join):
        return None
    if isinstance(edit, Keyframes):
        if not edit.indices:
            return None
        if edit.indices == (0,):
            return "first_frame"
        last = edit.film.frames - 1
        return {(last,): "last_frame", (0, last): "both_ends"}.get(edit.indices, "keyframes")
    if isinstance(edit, Extend):
        return f"extend_{edit.direction}"
    return next(name for name, kind in _KINDS.items() if isinstance(edit, kind))


def supported(given: Collection[str]) -> tuple[str, ...]:
    """The abilities of a model that learned these kinds of given latents (`sora_core.training.masks`)."""
    return tuple(name for name, kinds in LEARNED_FROM.items() if not kinds or not kinds.isdisjoint(given))


def check_learned(edit: Edit, given: Collection[str]) -> None:
    """InputError when a model that learned these kinds of given latents was not trained for the edit."""
    name = ability(edit)
    if name is not None and name not in supported(given):
        needed, learned = " or ".join(sorted(LEARNED_FROM[name])), ", ".join(sorted(given)) or "none"
        raise InputError(
            f"{name}: this model was not trained for it; it needs given latents of the kind {needed} and learned "
            f"{learned}. It can do: {', '.join(supported(given))}"
        )


def to_json(edit: Edit) -> dict[str, Any]:
    """The edit as JSON holds it; `from_json` inverts it."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(edit, kind))
    return {"kind": kind, **dataclasses.asdict(edit)}


def from_json(values: Mapping[str, Any]) -> Edit:
    """The edit that `to_json` wrote. InputError for anything else."""
    rest = dict(values)
    kind = _KINDS.get(rest.pop("kind", ""))
    try:
        if kind is None:
            raise TypeError(f"kind {values.get('kind')!r}")
        if rest.get("film") is not None:
            rest["film"] = PixelShape(**rest["film"])
        if "regions" in rest:
            rest["regions"] = tuple(Region(**region) for region in rest["regions"])
        if "indices" in rest:
            rest["indices"] = tuple(rest["indices"])
        return kind(**rest)
    except TypeError as error:
        raise InputError(f"not an edit ({error}): the kinds are {', '.join(_KINDS)}, with their own numbers") from error
