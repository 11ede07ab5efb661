"""The given tokens of a clip, computed at some steps only.

Given tokens are the same at every step; what they are to the others changes only by what they see. So their keys
and values may be kept in every layer, and the tokens left out of the pack until they are due again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sora_core.dit.packing import Pack
from sora_core.nn.attention import Segments
from sora_core.nn.transfer import upload

KeyValue = tuple[Float[Tensor, "g heads e"], Float[Tensor, "g heads e"]]


@dataclass(slots=True, eq=False)
class GivenStates:
    """Of one clip: the keys and values of its given tokens, its references' too, as the last pass left them.

    ``every`` passes they are computed anew: 1 always. They take the memory of 2 x layers x width numbers a given token.
    """

    every: int
    layers: tuple[KeyValue, ...] = ()
    passes: int = 0

    @property
    def are_due(self) -> bool:
        return not 0 < self.passes < self.every


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """A clip's states in one pass: recalled, or seen anew at ``rows`` of its tokens."""

    states: GivenStates
    rows: Int[Tensor, " g"]
    recalled: bool
    seen: list[KeyValue] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Recall:
    """One pass: ``begin`` it, run the blocks over its `pack` with `join` in each, and `finish` it.

    A pass that fails leaves no trace in the states.
    """

    whole: Pack
    rows: Int[Tensor, " k"]
    clips: tuple[_Given | None, ...]
    queries: Segments
    keys: Segments

    @classmethod
    def begin(cls, pack: Pack, states: Sequence[GivenStates | None]) -> "Recall":
        """Which tokens of a pack, whose clips have these states or none, are computed."""
        device = pack.tokens.device
        kept, clips = [], []
        for state, known, length in zip(states, pack.given, pack.segments.lengths, strict=True):
            mask = torch.zeros(length, dtype=torch.bool) if known is None else known
            recalled = state is not None and not state.are_due
            rows = mask.nonzero()[:, 0]
            clips.append(None if state is None else _Given(state, upload(rows, device), recalled))
            kept.append(~mask if recalled else torch.ones_like(mask))
        queries = Segments.of(tuple(int(part.sum()) for part in kept), device)
        rows = upload(torch.cat(kept).nonzero()[:, 0], device)
        return cls(pack, rows, tuple(clips), queries, _keys(clips, queries))

    @property
    def pack(self) -> Pack:
        """Without the tokens that are recalled."""
        pack, rows = self.whole, self.rows
        return replace(
            pack,
            tokens=pack.tokens[rows],
            position=pack.position[rows],
            level=pack.level[rows],
            segments=self.queries,
        )

    def of_clips(self, clips: Sequence[int], queries: Segments) -> "Recall":
        """The pass of some clips alone, whose tokens lie at ``queries``."""
        chosen = tuple(self.clips[index] for index in clips)
        return replace(self, clips=chosen, queries=queries, keys=_keys(chosen, queries))

    def join(
        self, layer: int, key: Float[Tensor, "l heads e"], value: Float[Tensor, "l heads e"]
    ) -> tuple[Float[Tensor, "m heads e"], Float[Tensor, "m heads e"], Segments]:
        """What a layer's queries see: the computed tokens and the recalled ones of each clip."""
        keys, values = list(self.queries.split(key)), list(self.queries.split(value))
        for index, given in enumerate(self.clips):
            if given is None:
                continue
            if given.recalled:
                kept_key, kept_value = given.states.layers[layer]
                keys[index] = torch.cat((keys[index], kept_key))
                values[index] = torch.cat((values[index], kept_value))
            else:
                given.seen.append((keys[index][given.rows], values[index][given.rows]))
        return torch.cat(keys), torch.cat(values), self.keys

    def finish(self, out: Float[Tensor, "k p"]) -> Float[Tensor, "l p"]:
        """The answers at the places of their tokens, 0 for those left out; the states are those of this pass."""
        for given in self.clips:
            if given is None:
                continue
            if given.recalled:
                given.states.passes += 1
            else:
                given.states.layers, given.states.passes = tuple(given.seen), 1
        whole = out.new_zeros(self.whole.num_tokens, out.shape[1])
        whole[self.rows] = out
        return whole


def _keys(clips: Sequence[_Given | None], queries: Segments) -> Segments:
    """Where each clip's keys lie: its computed tokens' and the recalled ones'."""
    lengths = [
        length + (len(given.rows) if given is not None and given.recalled else 0)
        for given, length in zip(clips, queries.lengths, strict=True)
    ]
    return Segments.of(tuple(lengths), queries.offsets.device)
