"""What the service shows the gate, and what becomes of a refusal: an answer or a job's end, and a case in the log."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.video.config import ModerationSettings
from services.video.errors import ApiError, refused
from services.video.job import Job
from services.video.ledger import Ledger
from services.video.moderation.cases import Case, CaseStore, case_id
from services.video.moderation.setup import gate_of
from sora_core import telemetry
from sora_core.errors import InputError
from sora_core.safety.gate.gate import Gate
from sora_core.safety.gate.spelling import plain
from sora_core.safety.gate.verdict import Finding, Picture, Stage, Verdict

log = logging.getLogger(__name__)

BLOCKED = "moderation_blocked"
# What two jobs agree in that make the same frames.
_MAKES = (
    "prompt", "revised_prompt", "negative_prompt", "num_frames", "height", "width", "seed", "num_inference_steps",
    "guidance_scale", "sources", "characters",
)  # fmt: skip


class FramesBlocked(InputError):
    """The frames of a job may not leave; it ends without a video."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose words or pictures are looked at."""

    owner: str
    key_id: str = ""


class Guard:
    """Safe to use from several threads. ModerationUnavailable while the gate can't tell and is to stay closed,
    LedgerUnavailable while a refusal can't be written down."""

    def __init__(self, gate: Gate, cases: CaseStore, frames_per_second: float) -> None:
        self._gate = gate
        self._cases = cases
        self.frames_per_second = frames_per_second

    @classmethod
    def of(cls, settings: ModerationSettings, ledger: Ledger, *, reads: bool = True) -> "Guard":
        """By the config; ConfigError where what it needs isn't there. ``reads``: whether it will be shown texts."""
        cases = CaseStore(ledger, settings.keep_cases_s, ledger.now)
        return cls(gate_of(settings, reads=reads), cases, settings.frames_per_second)

    def check_text(self, asker: Asker, stage: Stage, field: str, text: str | None) -> None:
        """ApiError 400 for words that are refused."""
        if not text:
            return
        verdict = self._asked(stage, text, ())
        if not verdict.allowed:
            digest = hashlib.sha256(f"text\n{plain(text)}".encode()).hexdigest()
            self._refuse(asker, stage, field, verdict.worst, digest, text)

    def check_pictures(self, asker: Asker, field: str, frames: Sequence[Picture]) -> None:
        """ApiError 400 for a picture, or some frames of a clip, that are refused."""
        verdict = self._asked(Stage.INPUT, None, frames)
        if not verdict.allowed:
            seen = hashlib.sha256(b"pictures\n")
            for frame in frames:
                seen.update(f"{frame.shape}\n".encode() + frame.tobytes())
            self._refuse(asker, Stage.INPUT, field, verdict.worst, seen.hexdigest(), None)

    def check_frames(self, job: Job, frames: Sequence[Picture]) -> None:
        """FramesBlocked for frames that may not leave."""
        verdict = self._asked(Stage.OUTPUT, None, frames)
        if verdict.allowed:
            return
        made = json.dumps([job.model, *(job.params.get(name) for name in _MAKES)])
        digest = hashlib.sha256(f"made\n{made}".encode()).hexdigest()
        asker, prompt = Asker(job.owner, job.params.get("key", "")), job.params["prompt"]
        case = self._case(asker, Stage.OUTPUT, "video", verdict.worst, digest, prompt, job.id)
        if self._stands(case):
            raise FramesBlocked(f"what was made may not leave: {case.category} (rule {case.rule}, case {case.id})")

    def _asked(self, stage: Stage, text: str | None, images: Sequence[Picture]) -> Verdict:
        verdict = self._gate.check(stage, text, images)
        outcome = "refused" if not verdict.allowed else "unsure" if verdict.findings else "passed"
        telemetry.VIDEO_MODERATIONS.inc(1, {"stage": stage.value, "outcome": outcome})
        return verdict

    def _refuse(self, asker: Asker, stage: Stage, field: str, worst: Finding, digest: str, text: str | None) -> None:
        case = self._case(asker, stage, field, worst, digest, text, None)
        if self._stands(case):
            raise blocked(field, case)

    def _stands(self, case: Case) -> bool:
        """Whether a refusal counts: nobody has overruled it."""
        if not self._cases.record(case):
            log.info("%s passes: it was overruled", case.id)
            return False
        telemetry.VIDEO_BLOCKED.inc(1, {"category": case.category})
        return True

    def _case(
        self, asker: Asker, stage: Stage, field: str, worst: Finding, digest: str, text: str | None, job_id: str | None
    ) -> Case:
        return Case(
            id=case_id(asker.owner, digest), at=self._cases.now, owner=asker.owner, key_id=asker.key_id,
            stage=stage.value, field=field, category=worst.category, rule=worst.rule, score=worst.score,
            digest=digest, text=text, job_id=job_id,
        )  # fmt: skip


def blocked(field: str, case: Case) -> ApiError:
    """The answer to what the gate refuses."""
    message = f"{field}: refused as {case.category} (rule {case.rule}, case {case.id}); an operator can overrule it"
    return refused(field, message, BLOCKED)
