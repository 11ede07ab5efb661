"""Tables of captions that lie among the footage: ``captions`` or ``manifest``, as CSV, JSON lines or Parquet.

Columns are ``file`` (relative to the table's folder, or a whole URI), ``caption``, ``licence`` and, where a row speaks
of a span of its file, ``start`` and ``end`` (seconds, or ``h:mm:ss.s``). What can't be understood is never guessed: all
such rows are named, and nothing is curated until they are corrected.
"""

import logging
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jobs.curate.rows import Words
from jobs.curate.words.beside import Caption, caption_of
from jobs.curate.words.formats import KINDS, Line, read_lines
from sora_core import storage
from sora_core.errors import ConfigError
from sora_core.storage import ObjectInfo

logger = logging.getLogger(__name__)

# In order of precedence.
TABLES = tuple(name + kind for name in ("captions", "manifest") for kind in KINDS)
_SHOWN = 5
_STARTS, _ENDS = ("start", "start_s"), ("end", "end_s")


class _Fault(Exception):
    """Why a row can't be understood."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What one row says, and where it stands."""

    place: str
    uri: str
    caption: Caption
    span: tuple[float, float] | None


@dataclass(slots=True)
class _Faults:
    """Rows that can't be understood."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, place: str, why: object) -> None:
        self.count += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{place}: {why}")

    def check(self) -> None:
        """ConfigError that names them, if there are any."""
        if self.count:
            more = f"; and {self.count - len(self.shown)} more" if self.count > len(self.shown) else ""
            raise ConfigError(
                f"{self.count} rows of captions can't be understood, so none is taken: {'; '.join(self.shown)}{more}. "
                "Correct them, or give the table another name"
            )


class _Names:
    """The objects that rows may mean, by name."""

    def __init__(self, objects: Iterable[ObjectInfo]) -> None:
        self._uris = {item.uri for item in objects}
        self._folded: dict[str, list[str]] = {}
        for uri in self._uris:
            self._folded.setdefault(uri.casefold(), []).append(uri)

    def found(self, folder: str, file: str) -> str | None:
        """The object that ``file`` names, in any case where that is plain; None where there is none."""
        if "://" in file or file.startswith("/"):
            uri = file if storage.is_s3(file) else str(storage.local_path(file))
        else:
            uri = storage.join(folder, posixpath.normpath(file.replace("\\", "/")))
        if uri in self._uris:
            return uri
        alike = self._folded.get(uri.casefold(), [])
        if len(alike) > 1:
            raise _Fault(f"{file} may mean {' or '.join(sorted(storage.name(uri) for uri in alike))}")
        return alike[0] if alike else None


def read_tables(objects: Iterable[ObjectInfo]) -> tuple[dict[str, Caption], set[str]]:
    """Captions by the URI of their file, and the URIs of the tables that they come from.

    ConfigError names the rows that can't be understood, and a table of which no file is there.
    """
    objects = list(objects)
    tables = [item.uri for item in objects if storage.name(item.uri) in TABLES]
    names, faults = _Names(objects), _Faults()
    captions: dict[str, Caption] = {}
    used: set[str] = set()
    for uri in sorted(tables, key=lambda uri: (TABLES.index(storage.name(uri)), uri)):
        with storage.local_file(uri) as path:
            lines = read_lines(path, uri)
            if lines is None:
                logger.warning("%s has no columns 'file' and 'caption': not taken as a table of captions", uri)
                continue
            used.add(uri)
            captions = _together(_rows(lines, uri, names, faults), faults) | captions
    faults.check()
    return captions, used


def _rows(lines: Iterable[Line], table: str, names: _Names, faults: _Faults) -> Iterator[_Row]:
    """Rows whose file is there."""
    absent: list[str] = []
    num_absent = num_found = 0
    for line in lines:
        place = f"{table}, {line.place}"
        try:
            row = _row(place, line, names, table.rpartition("/")[0])
        except _Fault as error:
            faults.add(place, error)
            continue
        if row is None:
            num_absent += 1
            absent = [*absent, line.values["file"]][:_SHOWN]
            continue
        num_found += 1
        yield row
    if num_absent and not num_found and not faults.count:
        faults.add(table, f"none of its files is there ({', '.join(absent)})")
    elif num_absent:
        logger.warning("%s: %d files aren't there (%s, ...)", table, num_absent, ", ".join(absent))


def _row(place: str, line: Line, names: _Names, folder: str) -> _Row | None:
    values = line.values
    if line.fault:
        raise _Fault(line.fault)
    if not values.get("file"):
        raise _Fault("it names no file")
    start, end = (next((values[name] for name in known if values.get(name)), None) for known in (_STARTS, _ENDS))
    if (start is None) != (end is None):
        raise _Fault("a start and an end go together")
    span = (_seconds(start), _seconds(end)) if start is not None and end is not None else None
    if span and span[0] >= span[1]:
        raise _Fault(f"it ends ({end}) before it starts ({start})")
    uri = names.found(folder, values["file"])
    return _Row(place, uri, caption_of(values), span) if uri else None


def _seconds(text: str) -> float:
    """Of ``90``, ``1:30`` or ``0:01:30.5``."""
    try:
        seconds = sum(float(part) * 60.0**power for power, part in enumerate(reversed(text.split(":"))))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise _Fault(f"{text!r} is no time: write seconds or h:mm:ss")
    return seconds


def _together(rows: Iterable[_Row], faults: _Faults) -> dict[str, Caption]:
    """Captions by URI: of the whole file, and of its spans."""
    whole: dict[str, Caption] = {}
    spans: dict[str, list[Words]] = {}
    for row in rows:
        if row.span and row.caption.text:
            spans.setdefault(row.uri, []).append(Words(*row.span, row.caption.text))
        before = whole.get(row.uri, Caption(None, None))
        text = None if row.span else row.caption.text
        for one, other in ((before.text, text), (before.licence, row.caption.licence)):
            if one and other and one != other:
                faults.add(
                    row.place, f"{storage.name(row.uri)} has {one!r} and {other!r}; give start and end, or one row"
                )
        whole[row.uri] = Caption(before.text or text, before.licence or row.caption.licence)
    return {
        uri: Caption(caption.text, caption.licence, tuple(sorted(spans.get(uri, ()), key=lambda words: words.start_s)))
        for uri, caption in whole.items()
    }
