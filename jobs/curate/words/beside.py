"""Captions that lie beside the footage, each bound to its file before any work begins.

Sidecars ``clip.mp4.txt`` or ``clip.txt`` (the caption itself) and ``.json`` (``caption``, ``licence``) beside a file go
before tables (`tables`). Of both kinds the JSON speaks first, and of what it doesn't say the text.
"""

import json
import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.curate.rows import Words
from sora_core import storage

logger = logging.getLogger(__name__)

# In order of precedence.
SIDECARS = (".json", ".txt")


@dataclass(frozen=True, slots=True)
class Caption:
    """Words for one file, and for ``spans`` of it; None where nobody said."""

    text: str | None
    licence: str | None
    spans: tuple[Words, ...] = ()


def caption_of(values: Mapping[str, Any]) -> Caption:
    """What the columns of a row, or the keys of a sidecar, say."""
    return Caption(_clean(values.get("caption")), _clean(values.get("licence") or values.get("license")))


def _clean(text: object) -> str | None:
    return " ".join(text.split()) or None if isinstance(text, str) else None


def sidecars_of(uri: str, known: Container[str]) -> Iterator[str]:
    """The sidecars of a media object, of each kind the one with the fuller name."""
    folder, _, name = uri.rpartition("/")
    stem = name.rpartition(".")[0] or name
    for suffix in SIDECARS:
        places = f"{uri}{suffix}", f"{folder}/{stem}{suffix}" if folder else f"{stem}{suffix}"
        yield from [place for place in places if place in known][:1]


def read_sidecars(uris: Iterable[str]) -> Caption:
    """The words of a file's sidecars. A damaged one says nothing, and without others its file waits for a caption."""
    said = [_read(uri) for uri in uris]
    texts, licences = (caption.text for caption in said), (caption.licence for caption in said)
    return Caption(next(filter(None, texts), None), next(filter(None, licences), None))


def _read(uri: str) -> Caption:
    text = storage.read_bytes(uri).decode("utf-8-sig", errors="replace")
    if not uri.endswith(".json"):
        return Caption(_clean(text), None)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        logger.warning("%s: no valid JSON (%s); it says nothing", uri, error)
        return Caption(None, None)
    return caption_of(values) if isinstance(values, dict) else Caption(None, None)
