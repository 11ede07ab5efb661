"""The two layers on everything that leaves, in the one order that holds: mark, encode, sign, store."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import UInt8

from services.video.config import ProvenanceSettings, ServiceConfig
from services.video.files import CONTENT_TYPES
from services.video.job import Job
from services.video.ledger import Ledger
from services.video.provenance.keys import ProvenanceKeys
from services.video.provenance.likenesses import Likenesses, spans
from services.video.provenance.store import KnownOrigin, OriginStore, mark_of
from sora_core import telemetry
from sora_core.likeness import Pictures
from sora_core.safety.credentials import CredentialSigner, Ingredient, Origin
from sora_core.safety.labels import Labeller, filled, policy
from sora_core.safety.mark import Marker, MarkKey

log = logging.getLogger(__name__)

GENERATOR = "sora-on-ray"
_DAY_S = 86_400.0
_SOON_S = 30 * _DAY_S


class Seals:
    """Marks and signs a decoder's files; safe to use from one thread."""

    def __init__(
        self,
        settings: ProvenanceSettings,
        store: OriginStore,
        mark_key: MarkKey | None,
        signer: CredentialSigner | None,
        likenesses: Likenesses | None,
    ) -> None:
        self._store = store
        self._likenesses = likenesses
        self._looks = Pictures()  # of the job whose frames passed by last
        self._mark_key = mark_key
        self._signer = signer
        self._provider = settings.provider
        self._policies = [policy(name) for name in settings.policies]
        self._labellers = [Labeller(one.label, settings.font) for one in self._policies if one.label is not None]
        self._version = metadata.version(GENERATOR)

    @classmethod
    def load(cls, config: ServiceConfig, ledger: Ledger) -> Self:
        """By the config; ConfigError for keys, policies and fonts that can't be used."""
        settings, store = config.provenance, OriginStore(ledger)
        likenesses = Likenesses(ledger) if settings.fingerprint else None
        if not (settings.watermark or settings.credentials):
            return cls(settings, store, None, None, likenesses)
        keys = ProvenanceKeys.load(config)
        mark_key = keys.mark_keys[0] if settings.watermark else None
        signer = keys.credential_signer() if settings.credentials else None
        if signer is not None:
            telemetry.VIDEO_CERTIFICATE.set(signer.expires_at)
            warn_of_end(signer.expires_at - time.time())
        return cls(settings, store, mark_key, signer, likenesses)

    def frames(self, job: Job, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The frames of a job with its labels and its number in them."""
        for labeller in self._labellers:
            frames = labeller(frames, job.params["fps"])
        if self._likenesses is not None:
            frames = self._looked_at(frames, job.params["fps"])
        if self._mark_key is None:
            return iter(frames)
        return map(Marker(self._mark_key, mark_of(job.id)), frames)

    def _looked_at(
        self, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The frames as they pass by; small grey pictures of some stay."""
        self._looks = Pictures()
        for number, frame in enumerate(frames):
            self._looks.see(number / fps, frame)
            yield frame

    def metadata(self, job: Job) -> dict[str, str]:
        """The keys that the policies want in a job's mp4."""
        facts = self._facts(job)
        return {key: text for one in self._policies for key, text in filled(one.metadata, facts).items()}

    def seal(self, job: Job, variant: str, path: Path, sources: Sequence[Ingredient]) -> None:
        """Sign a finished file, and remember it by its mark. ProvenanceUnavailable while that can't be done."""
        manifest = None
        if self._mark_key is not None:
            telemetry.VIDEO_SEALED.inc(1, {"layer": "mark"})
        if self._signer is not None:
            manifest = self._signer.sign(path, CONTENT_TYPES[variant], self._origin(job, variant), sources)
            telemetry.VIDEO_SEALED.inc(1, {"layer": "credentials"})
        if variant == job.kind.value:
            origin = KnownOrigin(
                mark=mark_of(job.id),
                job_id=job.id,
                model=job.model,
                media_type=CONTENT_TYPES[variant],
                made_at=job.created_at,
                manifest=manifest,
            )
            self._store.remember(origin)
            if self._likenesses is not None:
                length_s = job.params["num_frames"] / job.params["fps"]
                self._likenesses.remember(job.id, list(spans(self._looks, length_s)))

    def _origin(self, job: Job, variant: str) -> Origin:
        facts = self._facts(job)
        title = job.id if variant == job.kind.value else f"{job.id} {variant}"
        return Origin(
            identity=job.id, title=title, model=job.model, made_at=job.created_at, generator=GENERATOR,
            version=self._version, prompt=job.params["prompt"], provider=self._provider,
            mark=None if self._mark_key is None else mark_of(job.id), edited=job.params["film"] is not None,
            fields={key: text for one in self._policies for key, text in filled(one.fields, facts).items()},
        )  # fmt: skip

    def _facts(self, job: Job) -> dict[str, str]:
        made_at = datetime.fromtimestamp(job.created_at, UTC).isoformat(timespec="seconds")
        return {
            "provider": self._provider, "generator": GENERATOR, "version": self._version, "model": job.model,
            "made_at": made_at, "id": job.id,
        }  # fmt: skip


def warn_of_end(left_s: float) -> None:
    """Say that the certificate ends soon: after that nothing leaves."""
    if left_s < _SOON_S:
        log.warning("the certificate that signs ends in %.1f days: renew it, or nothing will leave", left_s / _DAY_S)
