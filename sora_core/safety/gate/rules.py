"""Word rules: lists of words in several languages, and which of them together are refused as what."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from sora_core.safety.gate.verdict import Finding

_UNSPACED = ("ar", "zh")  # where words aren't divided by spaces, or carry what belongs to others
_UNDER_AGE = r"(?<!\d)(?:[1-9]|1[0-7])[ -]?(?:years?[ -]old|yo|jährige\w*|ans|años|anos|anni|岁|лет)(?!\w)"


@dataclass(frozen=True, slots=True)
class Rule:
    """Refuses a text that holds a word of each list in ``all``, and none of those in ``unless``."""

    id: str
    category: str
    all: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WordRules:
    """What can be told of a text by words alone: what it finds is sure, and it can't know what it doesn't find."""

    words: Mapping[str, re.Pattern[str]]
    rules: tuple[Rule, ...]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> "WordRules":
        """Those of `rules.toml`."""
        text = (resources.files("sora_core.safety.gate") / "rules.toml").read_text(encoding="utf-8")
        values = tomllib.loads(text)
        words = {name: _pattern(name, lists) for name, lists in values["words"].items()}
        rules = (
            Rule(one["id"], one["category"], tuple(one["all"]), tuple(one.get("unless", ()))) for one in values["rule"]
        )
        return cls(words, tuple(rules))

    def broken(self, text: str) -> list[Finding]:
        """A finding for each rule that a text breaks, the first of the file first."""
        seen: dict[str, bool] = {}

        def holds(name: str) -> bool:
            if name not in seen:
                seen[name] = self.words[name].search(text) is not None
            return seen[name]

        return [
            Finding(rule.category, 1.0, f"words.{rule.id}")
            for rule in self.rules
            if all(map(holds, rule.all)) and not any(map(holds, rule.unless))
        ]


def _pattern(name: str, lists: Mapping[str, str]) -> re.Pattern[str]:
    """The words of all languages as one pattern: ``*`` ends what may go on, ``_`` stands for a gap of a few words."""
    spaced, unspaced = [], []
    for language, text in lists.items():
        for word in filter(None, (part.strip() for part in text.split("|"))):
            if language in _UNSPACED:
                unspaced.append(re.escape(word))
            else:
                escaped = re.escape(word).replace(r"\*", r"\w*").replace(r"\ _\ ", r"\W+(?:\w+\W+){0,4}")
                spaced.append(escaped.replace(r"\ ", r"[\s\-]+"))
    parts = [rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)"] if spaced else []
    if name == "minor":
        parts.append(_UNDER_AGE)
    return re.compile("|".join(parts + unspaced))
