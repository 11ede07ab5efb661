"""The gate: judges that are always asked, others that are asked when those are unsure, and one verdict."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sora_core.errors import ModerationUnavailable
from sora_core.safety.gate.verdict import Finding, Judge, JudgeAway, Picture, Shown, Stage, Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gate:
    """Who judges, and what happens when nobody is sure.

    ``judges`` are always asked, and each can refuse. ``second`` are asked about what no judge refuses and one is
    unsure of, or can't read. Where nobody second answers, what is near a threshold is refused when ``refuse_unsure``. A
    judge that is away keeps the gate closed, unless ``open_when_away``.
    """

    judges: tuple[Judge, ...] = ()
    second: tuple[Judge, ...] = ()
    refuse_unsure: bool = False
    open_when_away: bool = False

    def check(self, stage: Stage, text: str | None = None, images: Sequence[Picture] = ()) -> Verdict:
        """Whether a text, pictures or both may pass. ModerationUnavailable when that can't be said now."""
        if not text and not len(images):
            return Verdict(True)
        shown = Shown(stage, text, images)
        doubts: list[Finding] = []
        covered = True
        for judge in self.judges:
            found, covers = self._asked(judge, shown)
            if any(finding.sure for finding in found):
                return Verdict(False, found)
            doubts += found
            covered &= covers
        if covered and not doubts:
            return Verdict(True)
        settled = False
        for judge in self.second:
            found, covers = self._asked(judge, shown)
            if found:
                return Verdict(False, found)
            settled |= covers
        return Verdict(settled or not (doubts and self.refuse_unsure), tuple(doubts))

    def _asked(self, judge: Judge, shown: Shown) -> tuple[tuple[Finding, ...], bool]:
        try:
            opinion = judge.judge(shown)
        except JudgeAway as error:
            if not self.open_when_away:
                raise ModerationUnavailable(str(error)) from error
            log.warning("passed without a judge: %s", error)
            return (), False
        return opinion.findings, opinion.covers
