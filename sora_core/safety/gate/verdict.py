"""What the gate says: findings of judges in OpenAI's categories, and the verdict that they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from sora_core.errors import SoraError

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
Picture = UInt8[np.ndarray, "h w 3"]


class Stage(StrEnum):
    """What is looked at."""

    PROMPT = "prompt"
    NEGATIVE_PROMPT = "negative_prompt"
    REVISED_PROMPT = "revised_prompt"
    NAME = "name"
    INPUT = "input"
    OUTPUT = "output"
    CAPTION = "caption"
    FOOTAGE = "footage"


class JudgeAway(SoraError):
    """A judge that doesn't answer, or answers what can't be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What judges look at: a text, pictures, or both."""

    stage: Stage
    text: str | None = None
    images: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a judge objects to. ``rule`` names why; ``score`` is from 0 to 1. What isn't ``sure`` is near the
    judge's threshold, and refused by nobody else's say-so."""

    category: str
    score: float
    rule: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge says. ``covers``: whether it knows the language, or saw all that it was shown."""

    findings: tuple[Finding, ...] = ()
    covers: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it passes. ``findings`` are what it was refused for; of what passes, what was near the threshold."""

    allowed: bool
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Finding:
        """The finding that a refusal names."""
        return max(self.findings, key=lambda finding: (finding.sure, finding.score))


class Judge(Protocol):
    """Somebody with an opinion. Safe to use from several threads; JudgeAway when there is none to be had."""

    def judge(self, shown: Shown) -> Opinion: ...
