"""Near-duplicates over the whole corpus: of clips that show the same, the best stays.

Everything is read from the ledger, so no footage is looked at again. The clips that pass all else are put in order,
the best first; an index finds for each the clips of other objects that may show the same, and pictures decide. A clip
whose frames, most of them, are in the kept clips of one other object is a copy. A copy names a clip that is kept: there
are no chains in which each resembles only the next. Clips of one object are never copies of one another.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from usearch.index import Index

from jobs.curate.books import ledger
from jobs.curate.books.parts import Part
from jobs.curate.config import CurateConfig
from jobs.curate.listing import Plan, has_words
from jobs.curate.rows import Clip, Examined, Source, short_hash
from jobs.curate.verdicts import reason_measured
from sora_core.likeness import DIM, MIRRORED, likeness, opened, vector

# Clips that are looked up for each, how like their vectors must be, and how many of them are compared by picture.
_NEIGHBOURS = 64
_LEAST_COSINE = 0.45
_MOST_COMPARED = 8
# Up to this many clips the search is exhaustive.
_EXACT = 20_000
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip that passes, as far as the search needs it. ``quality`` is its object's."""

    clip_id: str
    uri: str
    part: str
    start_s: float
    is_still: bool
    has_words: bool
    quality: float


def find(plan: Plan, config: CurateConfig, parts: Sequence[Part]) -> dict[str, dict[str, str]]:
    """By URI, the clips of an object that are copies, each with the kept clip that it is one of."""
    assert config.max_likeness is not None
    candidates, vectors = _candidates(plan, config, parts)
    pairs = _pairs(candidates, vectors)
    pictures = _pictures(
        [candidates[i] for i in sorted({i for worse, found in pairs for i in (worse, *found)})], config
    )
    copies: dict[str, dict[str, str]] = defaultdict(dict)
    dropped: set[int] = set()
    for worse, found in pairs:
        kept = [(better, flipped) for better, flipped in found.items() if better not in dropped][:_MOST_COMPARED]
        original = _original(candidates, pictures, worse, kept, config.max_likeness)
        if original is not None:
            dropped.add(worse)
            copies[candidates[worse].uri][candidates[worse].clip_id] = candidates[original].clip_id
    return dict(copies)


def told_apart(plan: Plan, copies: Mapping[str, dict[str, str]]) -> Plan:
    """The plan with the copies in each source; they enter its key."""
    return Plan([_with_copies(source, copies.get(source.uri, {})) for source in plan.sources], plan.others)


def _with_copies(source: Source, copies: dict[str, str]) -> Source:
    if not copies:
        return source
    return replace(source, key=short_hash(source.key, copies), copies={**copies, **source.copies})


def _candidates(plan: Plan, config: CurateConfig, parts: Sequence[Part]) -> tuple[list[Candidate], np.ndarray]:
    """Every clip of the ledger that passes, the best first, and their vectors ``(n, DIM)``."""
    planned = {source.examine_key: source for source in plan.sources}
    found: dict[str, tuple[Candidate, np.ndarray]] = {}
    for part in parts:
        for uri, row in ledger.recall(part.name, config.output).items():
            source = planned.get(row.source.examine_key)
            if source is not None and source.uri == uri:
                found |= {item.clip_id: (item, looks) for item, looks in _of_row(row, source, part.name, config)}
    order = sorted(found.values(), key=lambda pair: _rank(pair[0]))
    vectors = np.stack([looks for _, looks in order]) if order else np.empty((0, DIM), np.float32)
    return [candidate for candidate, _ in order], vectors


def _of_row(row: Examined, source: Source, part: str, config: CurateConfig) -> Iterator[tuple[Candidate, np.ndarray]]:
    is_described = has_words(source)
    clips = [clip for clip in row.clips if clip.fingerprint and not reason_measured(clip, config)]
    if not clips or not (is_described or config.caption_default or config.captioner != "none"):
        return
    quality = _quality(clips)
    for clip in clips:
        is_still = clip.frames == 1
        item = Candidate(clip.clip_id, source.uri, part, clip.start_s, is_still, is_described, quality)
        yield item, vector(opened(clip.fingerprint))


def _quality(clips: list[Clip]) -> float:
    """Of an object: pixels of its picture x root of its mean sharpness (a ratio of squares, higher in a smaller picture
    of the same) x seconds, less by the share of black bars. A photograph counts as one second."""
    sharpness = [clip.scores.sharpness for clip in clips if clip.scores.sharpness is not None]
    seconds = sum(clip.end_s - clip.start_s for clip in clips)
    without_bars = clips[0].area * (1 - (clips[0].scores.bars or 0.0))
    return without_bars * math.sqrt(sum(sharpness) / len(sharpness) if sharpness else 0.0) * (seconds or 1.0)


def _rank(item: Candidate) -> tuple[bool, float, str, float]:
    """What people described goes first, then quality."""
    return (not item.has_words, -item.quality, item.uri, item.start_s)


def _pairs(candidates: list[Candidate], vectors: np.ndarray) -> list[tuple[int, dict[int, bool]]]:
    """In order of rank, each clip with the better ones of other objects that may show the same, the likeliest first,
    and whether as in a mirror."""
    index = Index(ndim=DIM, metric="cos", dtype="f16")
    # On one thread the same clips make the same graph.
    index.add(np.arange(len(vectors)), vectors, threads=1)
    best: dict[int, dict[int, tuple[float, bool]]] = defaultdict(dict)
    for first in range(0, len(vectors), _BLOCK):
        block = vectors[first : first + _BLOCK]
        for flipped, asked in ((False, block), (True, block * MIRRORED)):
            for i, j, cosine in _near(index, asked, first):
                ours, theirs = candidates[i], candidates[j]
                if ours.uri != theirs.uri and ours.is_still == theirs.is_still:
                    worse, better = max(i, j), min(i, j)
                    known = best[worse].get(better, (0.0, False))
                    best[worse][better] = max(known, (cosine, flipped))
    return [(worse, _likeliest_first(best[worse])) for worse in sorted(best)]


def _near(index: Index, asked: np.ndarray, first: int) -> Iterator[tuple[int, int, float]]:
    """``(asked, found, cosine)`` of every pair that is near enough."""
    count = min(_NEIGHBOURS, len(index))
    matches = index.search(asked, count, exact=len(index) <= _EXACT)
    cosines = 1 - np.asarray(matches.distances).reshape(len(asked), -1)
    keys = np.asarray(matches.keys).reshape(len(asked), -1)
    for row, column in zip(*np.nonzero(cosines >= _LEAST_COSINE), strict=True):
        yield first + int(row), int(keys[row, column]), float(cosines[row, column])


def _likeliest_first(found: dict[int, tuple[float, bool]]) -> dict[int, bool]:
    return {better: found[better][1] for better in sorted(found, key=lambda better: (-found[better][0], better))}


def _pictures(needed: Iterable[Candidate], config: CurateConfig) -> dict[str, np.ndarray]:
    """Pictures of some clips by id, read from the parts of the ledger that hold them."""
    by_part: dict[str, list[str]] = defaultdict(list)
    for item in needed:
        by_part[item.part].append(item.clip_id)
    pictures = {}
    for part, clip_ids in by_part.items():
        table = ledger.read_table(ledger.part_uri(config.output, part), ["clip_id", "fingerprint"])
        for row in table.filter(pc.is_in(table.column("clip_id"), pa.array(clip_ids))).to_pylist():
            pictures[row["clip_id"]] = opened(row["fingerprint"])
    return pictures


def _original(
    candidates: list[Candidate],
    pictures: Mapping[str, np.ndarray],
    worse: int,
    kept: list[tuple[int, bool]],
    most: float,
) -> int | None:
    """The clip that ``worse`` is a copy of. The frames of a trimmed copy may lie in two clips of the original."""
    ours = pictures[candidates[worse].clip_id]
    seen: dict[str, tuple[np.ndarray, float, int]] = {}
    for better, flipped in kept:
        theirs = pictures[candidates[better].clip_id]
        found = likeness(ours, np.ascontiguousarray(theirs[:, :, ::-1]) if flipped else theirs)
        uri, mean = candidates[better].uri, float(found.mean())
        frames, best, nearest = seen.get(uri, (found, -2.0, better))
        seen[uri] = (np.maximum(frames, found), max(best, mean), better if mean > best else nearest)
        if float(np.median(seen[uri][0])) > most:
            return seen[uri][2]
    return None
