"""Whether a file is one of ours: by its credentials, by the mark in its pixels, and by what is remembered of the mark."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel

from services.video.provenance.store import KnownOrigin, OriginStore
from sora_core import media
from sora_core.safety.coding import ID_BITS
from sora_core.safety.credentials import Credentials, media_type_of, read_credentials
from sora_core.safety.mark import MarkKey
from sora_core.safety.reading import Reading, read_mark

_MOST_FRAMES = 64
_MOST_SIDE = 1280

Outcome = Literal["detected", "not_detected"]


class C2paResult(BaseModel):
    """What the signed statement in a file says. ``recovered``: it was stripped, and found again by the mark."""

    type: Literal["c2pa"] = "c2pa"
    outcome: Outcome
    validation_state: Literal["trusted", "valid", "invalid", "not_present"]
    issuer: str | None = None
    model: str | None = None
    generated_at: str | None = None
    id: str | None = None
    ingredients: list[str] = []
    problems: list[str] = []
    recovered: bool = False


class WatermarkResult(BaseModel):
    """What the pixels say. ``false_alarm`` bounds the chance that unmarked pixels would say as much."""

    type: Literal["watermark"] = "watermark"
    outcome: Outcome
    id: str | None = None
    key: str | None = None
    score: float | None = None
    false_alarm: float | None = None
    model: str | None = None
    generated_at: str | None = None


class ProvenanceCheck(BaseModel):
    """The answer of ``POST /v1/content_provenance_checks``."""

    object: Literal["content_provenance_check"] = "content_provenance_check"
    created_at: int
    results: list[C2paResult | WatermarkResult]


class Checker:
    """Checks files within limits; safe to use from several threads."""

    def __init__(self, keys: Sequence[MarkKey], anchors_pem: str | None, store: OriginStore) -> None:
        self._keys = keys
        self._anchors_pem = anchors_pem
        self._store = store

    def check(self, file: Path, now: float) -> ProvenanceCheck:
        """Both results. UnreadableMedia for a file that no picture can be read from."""
        reading = read_mark(_frames(file), self._keys)
        known = None if reading is None else self._store.by_mark(reading.identity)
        media_type = media_type_of(file)
        told = Credentials("not_present")
        if media_type is not None:
            told = read_credentials(file, media_type, self._anchors_pem)
        c2pa = _c2pa(told)
        if told.state == "not_present" and known is not None and known.manifest is not None:
            c2pa = c2pa.model_copy(update={"recovered": True, "id": known.job_id})
        return ProvenanceCheck(created_at=int(now), results=[c2pa, _watermark(reading, known)])

    def manifest(self, mark: int) -> KnownOrigin | None:
        """What is remembered of a mark: the resolution of a C2PA soft binding."""
        return self._store.by_mark(mark) if 0 <= mark < 1 << ID_BITS else None


def _c2pa(told: Credentials) -> C2paResult:
    good = told.state in ("trusted", "valid")
    about = told.origin if good else {}
    return C2paResult(
        outcome="detected" if good else "not_detected",
        validation_state=told.state,
        issuer=told.issuer,
        model=about.get("model"),
        generated_at=told.made_at if good else None,
        id=about.get("id"),
        ingredients=list(told.ingredients),
        problems=list(told.problems),
    )


def _watermark(reading: Reading | None, known: KnownOrigin | None) -> WatermarkResult:
    if reading is None:
        return WatermarkResult(outcome="not_detected")
    made_at = known and datetime.fromtimestamp(known.made_at, UTC).isoformat(timespec="seconds")
    return WatermarkResult(
        outcome="detected",
        id=known.job_id if known else None,
        key=reading.key,
        score=round(reading.score, 2),
        false_alarm=reading.false_alarm,
        model=known.model if known else None,
        generated_at=made_at or None,
    )


def _frames(file: Path) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The first frames of a video as they are, or a picture's one."""
    return itertools.islice(media.clip_frames(file), _MOST_FRAMES)
