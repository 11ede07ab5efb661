"""A text encoder's vocabulary tells what it can't read, without the encoder."""

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from sora_core import vocabulary

FOREIGN = {
    "Chinese": "一个红色的球在草地上向左移动",
    "Russian": "красный мяч движется влево по траве",
    "Arabic": "كرة حمراء تتحرك إلى اليسار على العشب",
    "Korean": "빨간 공이 잔디 위에서 왼쪽으로 움직인다",
    "Japanese": "赤いボールが草の上を左に動く",
    "Hindi": "लाल गेंद घास पर बाईं ओर जाती है",
    "Greek": "μια κόκκινη μπάλα κινείται αριστερά",
}
READ = (
    "a red ball moves left over grass",
    "a café in Zürich 🙂 with naïve 5-6 people, 20 °C",
    "a samurai 侍 walks past a sign that says ΑΒΓ",
    "ein roter Ball bewegt sich nach links",
    "",
)


@pytest.fixture(scope="module")
def known() -> vocabulary.Vocabulary:
    found = vocabulary.find(vocabulary.DEFAULT)
    assert found is not None
    return found


@pytest.mark.parametrize("language", FOREIGN)
def test_a_language_without_words_is_told(known: vocabulary.Vocabulary, language: str) -> None:
    assert known.read(FOREIGN[language]).unread > 0.6


@pytest.mark.parametrize("text", READ)
def test_names_signs_and_latin_letters_are_read(known: vocabulary.Vocabulary, text: str) -> None:
    assert known.read(text).unread < 0.3


def test_tokens_are_those_that_the_encoder_meets(known: vocabulary.Vocabulary) -> None:
    assert known.read("a red ball").num_tokens == 5  # and the marks of beginning and end
    assert known.read("ball " * 400).num_tokens == 402


def test_a_vocabulary_of_ideographs_reads_them(tmp_path: Path) -> None:
    words = {word: number for number, word in enumerate(["[UNK]", "红", "球"])}
    Tokenizer(models.WordPiece(words, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    found = vocabulary.find(str(tmp_path))
    assert found is not None
    assert found.read("红").unread == 0


def test_a_vocabulary_without_english_says_so(known: vocabulary.Vocabulary, tmp_path: Path) -> None:
    assert known.reads_english
    Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    empty = vocabulary.find(str(tmp_path))
    assert empty is not None
    assert not empty.reads_english


def test_without_a_local_tokenizer_nothing_is_told(tmp_path: Path) -> None:
    assert vocabulary.find(str(tmp_path)) is None
    assert vocabulary.find("somebody/on-the-hub") is None


def test_the_api_asks_without_torch() -> None:
    ask = "from sora_core import vocabulary as v; v.find('default').read('x')"
    subprocess.run([sys.executable, "-c", f"import sys; {ask}; assert 'torch' not in sys.modules"], check=True)
