"""Whether a file is one of ours: by its credentials, and by the mark in its pixels and what is remembered of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel

from services.video.config import ApiSettings
from services.video.provenance.likenesses import SPAN_S, Alike, Likenesses, spans
from services.video.provenance.store import KnownOrigin, OriginStore, mark_of
from sora_core import media, telemetry
from sora_core.errors import UnreadableMedia
from sora_core.likeness import Pictures
from sora_core.safety.credentials import Credentials, media_type_of, read_credentials
from sora_core.safety.mark import MarkKey
from sora_core.safety.reading import Reading, read_mark

_MOST_FRAMES = 64  # that are read for a mark
_USUAL_FPS = 24.0  # of a file that doesn't say
_SPANS = 4  # that are looked for among what files look like
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


class FingerprintResult(BaseModel):
    """What it looks like: the file of ours that it may be a copy of. ``likeness`` is 1 for the same pictures; two films
    of one plain scene may look alike too."""

    type: Literal["fingerprint"] = "fingerprint"
    outcome: Outcome
    id: str | None = None
    likeness: float | None = None
    model: str | None = None
    generated_at: str | None = None


Result = C2paResult | WatermarkResult | FingerprintResult


class ProvenanceCheck(BaseModel):
    """The answer of ``POST /v1/content_provenance_checks``."""

    object: Literal["content_provenance_check"] = "content_provenance_check"
    created_at: int
    results: list[Result]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of a file: its first frames, and how it looks span by span."""

    frames: list[UInt8[np.ndarray, "h w 3"]]
    looks: list[bytes]


class Checker:
    """Checks files within limits; safe to use from several threads."""

    def __init__(
        self,
        keys: Sequence[MarkKey],
        anchors_pem: str | None,
        store: OriginStore,
        likenesses: Likenesses,
        limits: ApiSettings,
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._anchors_pem = anchors_pem
        self._store = store
        self._likenesses = likenesses

    def check(self, file: Path, now: float) -> ProvenanceCheck:
        """All results. UnreadableMedia for a file that no picture can be read from."""
        decoder = media.Isolated(_LIMITS)
        try:
            with decoder.lent(file) as path:
                seen, told = self._seen(decoder, path), self._told(decoder, path, media_type_of(file))
        finally:
            decoder.close()
        reading = read_mark(seen.frames, self._keys)
        known = None if reading is None else self._store.by_mark(reading.identity)
        c2pa = _c2pa(told)
        if told.state == "not_present" and known is not None and known.manifest is not None:
            c2pa = c2pa.model_copy(update={"recovered": True, "id": known.job_id})
        results: list[Result] = [c2pa, _watermark(reading, known), self._fingerprint(seen.looks)]
        for result in results:
            telemetry.VIDEO_PROVENANCE_CHECKS.inc(1, {"type": result.type, "outcome": result.outcome})
        return ProvenanceCheck(created_at=int(now), results=results)

    def known(self, mark: int) -> KnownOrigin | None:
        """What is remembered of a mark."""
        return self._store.by_mark(mark)

    def _seen(self, decoder: media.Isolated, path: Path) -> _Seen:
        """What a video or a picture shows, read at arm's length."""
        info = decoder.call(media.probe, path)
        pixels, most = info.width * info.height, self._limits.max_video_pixels
        if pixels > most:
            what = f"{info.width}x{info.height} is {pixels} pixels: at most {most}"
            raise UnreadableMedia(what, reason="too_large")
        if info.kind == "image":
            return _looked_at([decoder.call(media.decode_image, path)], 1.0)
        return _looked_at(decoder.each(media.clip_frames, path), info.fps or _USUAL_FPS)

    def _fingerprint(self, looks: Sequence[bytes]) -> FingerprintResult:
        alike = self._likenesses.find(looks)
        if alike is None:
            return FingerprintResult(outcome="not_detected")
        return _copy_of(alike, self._store.by_mark(mark_of(alike.job_id)))

    def _told(self, decoder: media.Isolated, path: Path, media_type: str | None) -> Credentials:
        """What its credentials say, read there too."""
        if media_type is None:
            return Credentials("not_present")
        return decoder.call(read_credentials, path, media_type, self._anchors_pem)


def _looked_at(frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> _Seen:
    kept, looks, length_s = [], Pictures(), 0.0
    for number, frame in enumerate(frames):
        if number < _MOST_FRAMES:
            kept.append(frame)
        looks.see(number / fps, frame)
        length_s = (number + 1) / fps
        if number >= _MOST_FRAMES and length_s >= _SPANS * SPAN_S:
            break
    return _Seen(kept, list(spans(looks, length_s))[:_SPANS])


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
    return WatermarkResult(
        outcome="detected",
        id=known.job_id if known else None,
        key=reading.key,
        score=round(reading.score, 2),
        false_alarm=reading.false_alarm,
        model=known.model if known else None,
        generated_at=known.generated_at if known else None,
    )


def _copy_of(alike: Alike, known: KnownOrigin | None) -> FingerprintResult:
    return FingerprintResult(
        outcome="detected",
        id=alike.job_id,
        likeness=alike.likeness,
        model=known.model if known else None,
        generated_at=known.generated_at if known else None,
    )
