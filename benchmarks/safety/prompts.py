"""The prompts that the gate is tuned and measured on: three columns beside the half that a prompt belongs to."""

from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("prompts.tsv")
TUNE, HELD_OUT, FRESH = "tune", "held-out", "fresh"
BENIGN, ENGLISH = "benign", "en"


@dataclass(frozen=True, slots=True)
class Prompt:
    """``label`` is a category, or benign."""

    half: str
    language: str
    label: str
    text: str

    @property
    def is_english(self) -> bool:
        return self.language == ENGLISH

    @property
    def is_benign(self) -> bool:
        return self.label == BENIGN


def prompts(half: str) -> list[Prompt]:
    """Those of a half."""
    _, *lines = FILE.read_text(encoding="utf-8").splitlines()
    return [one for one in (Prompt(*line.split("\t")) for line in lines) if one.half == half]
