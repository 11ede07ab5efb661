"""Finding a file by how it looks, when its mark and its credentials are gone.

A video is remembered by small grey pictures (`sora_core.likeness`, by which curation finds copies), a row for each span
of it, so that a part of it is found too. An index in memory finds what may be alike; the pictures decide.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from usearch.index import Index

from services.video.ledger import Ledger
from services.video.ledger.tables import database, likenesses
from sora_core.likeness import DIM, MIRRORED, Pictures, likeness, opened, vector

SPAN_S = 2.0
# The median likeness of the pictures of copies lies above; measured by `benchmarks.provenance.attacks`.
ALIKE = 0.84
_NO_BARS = (0.0, 0.0, 0.0, 0.0)
_LEAST_COSINE = 0.45
_NEIGHBOURS = 16
_EXACT = 20_000  # up to so many the search is exhaustive
_PAGE = 5_000
_OVERLAP = 1_000  # numbers read again: a transaction may commit after one that began later
_PLAIN = 1e-3  # the length of a vector that says nothing


@dataclass(frozen=True, slots=True)
class Alike:
    """The job whose file looks like another, and how much: 1 for the same."""

    job_id: str
    likeness: float


def spans(pictures: Pictures, length_s: float) -> Iterator[bytes]:
    """The fingerprints of a file's spans, one after the other; a photograph has one."""
    for start_s in np.arange(0.0, max(length_s, SPAN_S / 2), SPAN_S).tolist():
        if length_s - start_s >= SPAN_S / 2 or start_s == 0.0:
            yield pictures.fingerprint(start_s, start_s + SPAN_S, _NO_BARS)


class Likenesses:
    """What files look like. Each method is safe in several threads; LedgerUnavailable when the database is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine
        self._lock = threading.Lock()
        self._index = Index(ndim=DIM, metric="cos", dtype="f16")
        self._last = 0

    def remember(self, job_id: str, fingerprints: Sequence[bytes]) -> None:
        """Keep a file's looks, in place of what an earlier attempt at the same job left."""
        rows = [
            {"job_id": job_id, "vector": looks.astype(np.float16).tobytes(), "pictures": pictures}
            for pictures in fingerprints
            if np.linalg.norm(looks := vector(opened(pictures))) > _PLAIN
        ]
        with database(self._engine, writes=True) as db:
            db.execute(likenesses.delete().where(likenesses.c.job_id == job_id))
            if rows:
                db.execute(likenesses.insert(), rows)

    def find(self, fingerprints: Sequence[bytes]) -> Alike | None:
        """The file that one of a file's spans is of, mirrored perhaps; None when none is like enough."""
        with self._lock:
            self._catch_up()
        return next(filter(None, map(self._found, fingerprints)), None)

    def _found(self, fingerprint: bytes) -> Alike | None:
        ours = opened(fingerprint)
        near = self._near(vector(ours))
        if not near:
            return None
        with database(self._engine, writes=False) as db:
            asked = sa.select(likenesses).where(likenesses.c.number.in_(near))
            rows = db.execute(asked).all()
        found = (_alike(ours, row, mirrored=near[row.number]) for row in rows)
        best = max(found, key=lambda alike: alike.likeness, default=None)
        return best if best is not None and best.likeness > ALIKE else None

    def _near(self, looks: np.ndarray) -> dict[int, bool]:
        """Numbers of rows that may be alike, and whether as in a mirror."""
        if np.linalg.norm(looks) <= _PLAIN:
            return {}
        with self._lock:
            if not len(self._index):
                return {}
            asked = np.stack([looks, looks * MIRRORED]).astype(np.float32)
            found = self._index.search(asked, min(_NEIGHBOURS, len(self._index)), exact=len(self._index) <= _EXACT)
        near: dict[int, tuple[float, bool]] = {}
        for mirrored, keys, distances in zip((False, True), found.keys, found.distances, strict=True):
            for number, distance in zip(keys.tolist(), distances.tolist(), strict=True):
                if 1 - distance >= _LEAST_COSINE:
                    near[number] = max(near.get(number, (-1.0, mirrored)), (1 - distance, mirrored))
        return {number: mirrored for number, (_, mirrored) in near.items()}

    def _catch_up(self) -> None:
        """Take up rows that were written since, by this process or another."""
        while True:
            since = max(0, self._last - _OVERLAP)
            with database(self._engine, writes=False) as db:
                asked = sa.select(likenesses.c.number, likenesses.c.vector).where(likenesses.c.number > since)
                rows = db.execute(asked.order_by(likenesses.c.number).limit(_PAGE + _OVERLAP)).all()
            fresh = [row for row in rows if row.number not in self._index]
            if fresh:
                vectors = np.stack([np.frombuffer(row.vector, np.float16) for row in fresh]).astype(np.float32)
                self._index.add(np.array([row.number for row in fresh]), vectors, threads=1)
            before, self._last = self._last, rows[-1].number if rows else self._last
            if self._last == before:
                return


def _alike(ours: np.ndarray, row: sa.Row[tuple[int, str, bytes, bytes]], *, mirrored: bool) -> Alike:
    theirs = opened(row.pictures)
    if mirrored:
        theirs = np.ascontiguousarray(theirs[:, :, ::-1])
    return Alike(row.job_id, round(float(np.median(likeness(ours, theirs))), 3))
