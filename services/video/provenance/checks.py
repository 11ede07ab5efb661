"""Whether a file is one of ours: by its credentials, and by the mark in its pixels and what is remembered of it."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel

from services.video.config import ApiSettings
from services.video.provenance.store import KnownOrigin, OriginStore
from sora_core import media, telemetry
from sora_core.errors import UnreadableMedia
from sora_core.safety.credentials import Credentials, media_type_of, read_credentials
from sora_core.safety.mark import MarkKey
from sora_core.safety.reading import Reading, read_mark

_MOST_FRAMES = 64
_LIMITS = media.Limits(memory_bytes=4 << 30, cpu_s=60, deadline_s=60.0)

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

    def __init__(
        self, keys: Sequence[MarkKey], anchors_pem: str | None, store: OriginStore, limits: ApiSettings
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._anchors_pem = anchors_pem
        self._store = store

    def check(self, file: Path, now: float) -> ProvenanceCheck:
        """Both results. UnreadableMedia for a file that no picture can be read from."""
        decoder = media.Isolated(_LIMITS)
        try:
            with decoder.lent(file) as path:
                frames, told = self._frames(decoder, path), self._told(decoder, path, media_type_of(file))
        finally:
            decoder.close()
        reading = read_mark(frames, self._keys)
        known = None if reading is None else self._store.by_mark(reading.identity)
        c2pa = _c2pa(told)
        if told.state == "not_present" and known is not None and known.manifest is not None:
            c2pa = c2pa.model_copy(update={"recovered": True, "id": known.job_id})
        results: list[C2paResult | WatermarkResult] = [c2pa, _watermark(reading, known)]
        for result in results:
            telemetry.VIDEO_PROVENANCE_CHECKS.inc(1, {"type": result.type, "outcome": result.outcome})
        return ProvenanceCheck(created_at=int(now), results=results)

    def known(self, mark: int) -> KnownOrigin | None:
        """What is remembered of a mark."""
        return self._store.by_mark(mark)

    def _frames(self, decoder: media.Isolated, path: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The first frames of a video as they are, or a picture's one, read at arm's length."""
        info = decoder.call(media.probe, path)
        pixels, most = info.width * info.height, self._limits.max_video_pixels
        if pixels > most:
            what = f"{info.width}x{info.height} is {pixels} pixels: at most {most}"
            raise UnreadableMedia(what, reason="too_large")
        if info.kind == "image":
            return [decoder.call(media.decode_image, path)]
        return list(itertools.islice(decoder.each(media.clip_frames, path), _MOST_FRAMES))

    def _told(self, decoder: media.Isolated, path: Path, media_type: str | None) -> Credentials:
        """What its credentials say, read there too."""
        if media_type is None:
            return Credentials("not_present")
        return decoder.call(read_credentials, path, media_type, self._anchors_pem)


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
