"""The local judge of texts: word rules in several languages, and a classifier of what English sentences say."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file

from sora_core.safety.gate.rules import WordRules
from sora_core.safety.gate.sentences import Sentences
from sora_core.safety.gate.spelling import is_english, plain, undisguised
from sora_core.safety.gate.verdict import CATEGORIES, Finding, Opinion, Shown, Stage

WEIGHTS = "weights.safetensors"
_DIGITS = 3  # of a score: what differs below comes from the processor, and would divide the replicas
_FEWEST_WORDS = 3  # of what has a sense to judge
_PIECE_WORDS = 60
_LISTED_WORDS = 3  # the longest entry of a list that isn't a sentence


@dataclass(frozen=True, slots=True)
class Classifier:
    """Logistic regression on a sentence's vector: whether it is refused, and as which category."""

    refuse: Float[np.ndarray, " d1"]
    categories: Float[np.ndarray, "c d1"]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> "Classifier":
        """What `benchmarks.safety.train` made of the half of the prompts that is for tuning."""
        with resources.as_file(resources.files("sora_core.safety.gate") / WEIGHTS) as path:
            return cls(**load_file(Path(path)))

    def scores(self, vector: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " c"]]:
        """How likely it is to be refused, and how that is shared out among `CATEGORIES`."""
        inputs = np.append(vector, 1.0)
        likely = 1 / (1 + np.exp(-float(self.refuse @ inputs)))
        logits = self.categories @ inputs
        shares = np.exp(logits - logits.max())
        return round(float(likely), _DIGITS), shares / shares.sum()


@dataclass(frozen=True, slots=True)
class TextJudge:
    """Objects to texts whose words break a rule or whose sense scores at least ``threshold``. From ``margin`` below to
    ``margin`` above it isn't sure. Texts in other languages than English, and of a word or two, are judged by their
    words alone, and it says that it doesn't cover them; as are all texts without ``by_sense``."""

    threshold: float
    margin: float
    by_sense: bool = True

    def warm(self) -> None:
        """Read what it needs. ConfigError where that isn't installed."""
        WordRules.load()
        if self.by_sense:
            Classifier.load()
            Sentences.load()

    def judge(self, shown: Shown) -> Opinion:
        text = shown.text
        if not text or (shown.stage is Stage.NEGATIVE_PROMPT and is_list(text)):
            return Opinion()
        ways = list(dict.fromkeys((plain(text), undisguised(text))))
        broken = next((found for way in ways if (found := WordRules.load().broken(way))), [])
        if broken:
            return Opinion(tuple(broken))
        if not self.by_sense or not is_english(ways[-1]) or len(ways[-1].split()) < _FEWEST_WORDS:
            return Opinion(covers=False)
        likely, category = max(max(_likely(piece) for piece in _pieces(way)) for way in ways)
        if likely < self.threshold - self.margin:
            return Opinion()
        return Opinion((Finding(category, likely, "sense", likely >= self.threshold + self.margin),))

    def scores(self, text: str) -> dict[str, float]:
        """A score for each category, for `POST /v1/moderations`: those of its sense, and 1 where a rule is broken."""
        scores = self.sense(text)
        for finding in self.judge(Shown(Stage.PROMPT, text)).findings:
            scores[finding.category] = max(scores[finding.category], finding.score)
        return scores

    def sense(self, text: str) -> dict[str, float]:
        """What the classifier alone says of a text: a score for each category, together how likely it is refused."""
        likely, shares = Classifier.load().scores(Sentences.load().vector(undisguised(text)))
        return {name: likely * float(share) for name, share in zip(CATEGORIES, shares, strict=True)}


@lru_cache(maxsize=4096)
def _likely(text: str) -> tuple[float, str]:
    """How likely a text is to be refused by its sense, and the likeliest category."""
    likely, shares = Classifier.load().scores(Sentences.load().vector(text))
    return likely, CATEGORIES[int(shares.argmax())]


def _pieces(text: str) -> list[str]:
    """A long text in parts: the model reads no further than its length, and a sentence is lost among many."""
    words = text.split()
    return [" ".join(words[begin : begin + _PIECE_WORDS]) for begin in range(0, len(words), _PIECE_WORDS)] or [""]


def is_list(text: str) -> bool:
    """Whether a negative prompt lists what to steer away from, as ``nudity, gore, blurry``: that asks for nothing."""
    return all(len(part.split()) <= _LISTED_WORDS for part in text.replace(";", ",").replace("\n", ",").split(","))
