"""What the report shows of an output, gathered in one pass over its ledger in memory that doesn't grow with it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.curate.books import ledger
from jobs.curate.books.parts import Part
from jobs.curate.rows import SCORE_NAMES

T = TypeVar("T")

_MOST_VALUES = 1 << 16
_MOST_PICTURES = 256
_MOST_COPIES = 40
_MOST_NAMES = 200
_COLUMNS = (
    "uri", "clip_id", "start_s", "end_s", "status", "reason", "caption", "same_as", "seconds", "size_bytes", "preview",
    *SCORE_NAMES,
)  # fmt: skip


@dataclass(slots=True)
class Sample(Generic[T]):
    """Evenly spread items of a stream: when there are too many, every other one goes."""

    most: int
    items: list[T] = field(default_factory=list)
    every: int = 1
    seen: int = 0

    def extend(self, items: Sequence[T]) -> None:
        """The next items of the stream."""
        first = -self.seen % self.every
        self.seen += len(items)
        self.items.extend(items[first :: self.every])
        while len(self.items) > self.most:
            self.items, self.every = self.items[::2], 2 * self.every


@dataclass(slots=True)
class Survey:
    """``values`` are scores by name and by whether their clip is kept; ``pictures`` rows with previews by status and
    reason. ``copies`` are URIs by the object or clip that they are equal to, which is shown in ``originals``;
    ``without`` names objects that gave no clip, what failed first."""

    footage_bytes: int = 0
    examine_s: float = 0.0
    values: dict[tuple[str, bool], Sample[float]] = field(default_factory=lambda: defaultdict(_values))
    pictures: dict[tuple[str, str], Sample[dict[str, Any]]] = field(default_factory=lambda: defaultdict(_pictures))
    copies: dict[str, list[str]] = field(default_factory=dict)
    num_copies: int = 0
    originals: dict[str, dict[str, Any]] = field(default_factory=dict)
    without: list[dict[str, Any]] = field(default_factory=list)
    num_without: int = 0


def _values() -> Sample[float]:
    return Sample(_MOST_VALUES)


def _pictures() -> Sample[dict[str, Any]]:
    return Sample(_MOST_PICTURES)


def survey(output: str, parts: Iterable[Part]) -> Survey:
    """Look through these parts of an output's ledger."""
    found = Survey()
    uris = [ledger.part_uri(output, part.name) for part in parts]
    for uri in uris:
        _add(found, ledger.read_table(uri, _COLUMNS))
    if found.copies:
        for uri in uris:
            _show_originals(found, ledger.read_table(uri, ["uri", "clip_id", "preview"]))
    return found


def _add(found: Survey, table: pa.Table) -> None:
    is_object = pc.is_null(table.column("clip_id"))
    objects, clips = table.filter(is_object), table.filter(pc.invert(is_object))
    found.footage_bytes += pc.sum(objects.column("size_bytes")).as_py() or 0
    found.examine_s += pc.sum(objects.column("seconds")).as_py() or 0.0
    is_kept = clips.column("status").to_numpy() == "kept"
    for name in SCORE_NAMES:
        scores = clips.column(name).to_numpy()
        for kept in (True, False):
            chosen = scores[is_kept == kept]
            found.values[name, kept].extend(chosen[~np.isnan(chosen)].tolist())
    for row in clips.filter(pc.is_valid(clips.column("preview"))).to_pylist():
        found.pictures[row["status"], row["reason"] or ""].extend([row])
    copies = table.filter(pc.is_valid(table.column("same_as"))).select(["uri", "same_as"])
    found.num_copies += copies.num_rows
    for row in copies.slice(0, _MOST_COPIES * 8).to_pylist():
        if row["same_as"] in found.copies or len(found.copies) < _MOST_COPIES:
            found.copies.setdefault(row["same_as"], []).append(row["uri"])
    with_clips = pc.is_in(objects.column("uri"), pc.unique(clips.column("uri")))
    without = objects.filter(pc.invert(with_clips)).select(["uri", "status", "reason"])
    found.num_without += without.num_rows
    found.without = sorted([*found.without, *without.to_pylist()], key=_failed_first)[:_MOST_NAMES]


def _failed_first(row: dict[str, Any]) -> tuple[bool, str, str]:
    return row["status"] != "failed", row["reason"] or "", row["uri"]


def _show_originals(found: Survey, table: pa.Table) -> None:
    wanted = pa.array(sorted(found.copies))
    for name in ("uri", "clip_id"):
        for row in table.filter(pc.is_in(table.column(name), wanted)).to_pylist():
            if row["preview"] or row[name] not in found.originals:
                found.originals[row[name]] = row
