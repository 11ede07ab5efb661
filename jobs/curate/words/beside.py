"""Captions that lie beside the footage, each bound to its file before any work begins.

A sidecar ``clip.mp4.txt`` or ``clip.txt`` (the caption itself) or ``.json`` (``caption``, ``licence``) beside the
file goes before a table ``captions.csv`` or ``manifest.csv`` in its folder (columns ``file, caption, licence``; file
names are relative to the table).
"""

import csv
import io
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sora_core import storage
from sora_core.errors import ConfigError
from sora_core.storage import ObjectInfo

logger = logging.getLogger(__name__)

# In order of precedence.
TABLES = ("captions.csv", "manifest.csv")
SIDECARS = (".json", ".txt")


@dataclass(frozen=True, slots=True)
class Caption:
    """Words for one file; None where nobody said."""

    text: str | None
    licence: str | None


def read_tables(objects: Iterable[ObjectInfo]) -> tuple[dict[str, Caption], set[str]]:
    """Captions by the URI of their file, and the URIs of the tables that they come from."""
    tables = [item.uri for item in objects if storage.name(item.uri) in TABLES]
    captions: dict[str, Caption] = {}
    used: set[str] = set()
    for uri in sorted(tables, key=lambda uri: (TABLES.index(storage.name(uri)), uri)):
        rows = _table_rows(storage.read_bytes(uri), uri)
        if rows is None:
            logger.warning("%s has no columns 'file' and 'caption': not taken as a table of captions", uri)
            continue
        used.add(uri)
        folder = uri.rpartition("/")[0]
        for file, caption in rows:
            captions.setdefault(storage.join(folder, file), caption)
    return captions, used


def _table_rows(data: bytes, uri: str) -> Iterator[tuple[str, Caption]] | None:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        names = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{uri}: no table in UTF-8 ({error}); save it as CSV in UTF-8") from error
    if not {"file", "caption"} <= set(names):
        return None
    return ((row["file"].strip(), _caption(row)) for row in reader if row["file"])


def _caption(values: dict[str, str | None]) -> Caption:
    licence = values.get("licence") or values.get("license")
    return Caption(_clean(values.get("caption")), _clean(licence))


def _clean(text: str | None) -> str | None:
    return " ".join(text.split()) or None if isinstance(text, str) else None


def sidecar_names(uri: str) -> Iterator[str]:
    """Where the sidecar of a media object may lie, the first found counts."""
    folder, _, name = uri.rpartition("/")
    stem = name.rpartition(".")[0] or name
    for suffix in SIDECARS:
        yield f"{uri}{suffix}"
        yield f"{folder}/{stem}{suffix}" if folder else f"{stem}{suffix}"


def read_sidecar(uri: str) -> Caption:
    """The words of one sidecar. A damaged one says nothing, and the clip is dropped for want of a caption."""
    text = storage.read_bytes(uri).decode("utf-8-sig", errors="replace")
    if not uri.endswith(".json"):
        return Caption(_clean(text), None)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        logger.warning("%s: no valid JSON (%s); its clip has no caption", uri, error)
        return Caption(None, None)
    return _caption(values) if isinstance(values, dict) else Caption(None, None)
