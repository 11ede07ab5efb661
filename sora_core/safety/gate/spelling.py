"""Texts as they are meant: other scripts' lookalikes, digits for letters, and letters set apart are undone."""

import re
import unicodedata

_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_LOOKALIKES = str.maketrans("аеорсухіјѕһкмтвнαεορτυνικ", "aeopcyxijshkmtbhaeoptuvik")
_LEET = str.maketrans("0134578@$!", "oieastbasi")
_MIXED = re.compile(r"(?=\S*[^\W\d_])(?=\S*[0-9@$!])[\w@$!]+")
_APART = re.compile(r"(?<!\w)\w(?:(?:[.\-_*~]|\s)\s?\w(?!\w)){2,}")
_WORDS_APART = re.compile(r"\s{2,}")
_LATIN, _OTHER = re.compile(r"[a-z]"), re.compile(r"[\u0370-\u03ff\u0400-\u04ff]")
_ENGLISH = re.compile(
    r"\b(?:a|an|and|are|as|at|be|by|for|from|has|he|her|his|how|i|in|into|is|it|its|my|of|off|on|one|or|over|she|that|"
    r"the|their|them|they|this|through|to|two|under|up|we|while|who|will|with|you)\b"
)
_OTHER_LANGUAGES = re.compile(
    r"\b(?:al|aux|avec|che|con|da|das|dans|de|dei|del|della|den|der|des|di|die|dla|do|dos|du|due|dwa|dwoje|e|een|ein|"
    r"eine|einer|eines|el|en|es|est|et|für|hacia|het|il|ist|jak|la|las|le|les|lo|los|met|mit|na|nad|nach|ne|nel|o|od|op|"
    r"os|par|para|paso|passo|per|pod|por|pour|que|se|sich|sobie|sobre|sous|sur|swoją|są|się|te|um|uma|un|una|und|une|uno|"
    r"van|voor|von|w|według|werden|wir|z|zum|zwei|à|é|że)\b"
)


def plain(text: str) -> str:
    """One width, one case, nothing invisible, one space between words."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(text.split())


def undisguised(text: str) -> str:
    """What a text says to a reader: ``p.o.r.n`` and ``n 4 k e d`` as words. The same as `plain` of ordinary texts."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    text = _APART.sub(_joined, text)
    words = (_latin(word) for word in text.split())
    return " ".join(_MIXED.sub(lambda found: found[0].translate(_LEET), word) for word in words)


def _joined(found: re.Match[str]) -> str:
    """Letters set apart, put together; where more than one space divides them, a word ends."""
    words = _WORDS_APART.split(found[0])
    return " ".join(re.sub(r"[\W_]+", "", word) for word in words)


def _latin(word: str) -> str:
    """A word of Latin letters and lookalikes among them."""
    return word.translate(_LOOKALIKES) if _LATIN.search(word) and _OTHER.search(word) else word


def is_english(text: str) -> bool:
    """Whether it reads as English: by its letters, and by the small words in it."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum(not letter.isascii() for letter in letters) > 0.05 * len(letters):
        return False
    english, other = (len(small.findall(text)) for small in (_ENGLISH, _OTHER_LANGUAGES))
    return english >= other
