"""What each word of a caption is worth: how much worse the loss is when another stands in its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.train.groups import example
from sora_core.errors import InputError
from sora_core.shards import Row
from sora_core.text import TextEncoder
from sora_core.training.step import Example
from sora_core.world.words import swapped


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """A clip whose caption says something else of one attribute; ``clip`` is its number among those judged."""

    clip: int
    attribute: str
    example: Example


def swaps(rows: Sequence[Row], text_encoder: str) -> list[Swap]:
    """Swaps of all clips whose captions are sentences of the controlled world; nothing is loaded when none is."""
    asked = [(clip, attribute, text) for clip, row in enumerate(rows) for attribute, text in _swapped(row.caption)]
    if not asked:
        return []
    states = TextEncoder.load(text_encoder).encode([text for _, _, text in asked])
    examples = [example(row) for row in rows]
    return [
        Swap(clip, attribute, examples[clip].saying(state))
        for (clip, attribute, _), state in zip(asked, states, strict=True)
    ]


def _swapped(caption: str) -> Iterator[tuple[str, str]]:
    try:
        yield from swapped(caption)
    except InputError:
        return
