"""The service's gate for captions: what may not be asked for is nothing to learn from. Frames have their own score."""

from functools import lru_cache

from sora_core.safety.gate.gate import Gate
from sora_core.safety.gate.verdict import Stage
from sora_core.safety.gate.words import TextJudge

REFUSED = "unsafe_words"
"""The reason of a clip whose caption the gate refuses."""


@lru_cache(maxsize=1)
def _gate() -> Gate:
    """Word rules alone: what they find is sure, and captions come in many languages."""
    return Gate((TextJudge(threshold=1.0, margin=0.0, by_sense=False),))


@lru_cache(maxsize=4096)
def is_refused(caption: str) -> bool:
    """Whether the gate's word rules refuse a caption."""
    return not _gate().check(Stage.CAPTION, caption).allowed
