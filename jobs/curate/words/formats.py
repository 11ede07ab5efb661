"""The rows of a table of captions, one at a time: of CSV, JSON lines or Parquet."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sora_core.errors import ConfigError

_REQUIRED = {"file", "caption"}
_ROWS_AT_ONCE = 16_384
_DAMAGE = (UnicodeDecodeError, csv.Error, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its ``place`` in the table, values by column, and what is wrong with it already."""

    place: str
    values: Mapping[str, str]
    fault: str | None = None


def read_lines(path: Path, uri: str) -> Iterator[Line] | None:
    """The rows of the table at ``path``; None of one without the columns ``file`` and ``caption``.

    ConfigError, while reading, too, for what is damaged or isn't UTF-8; ``uri`` is its name there.
    """
    lines = _guarded(_READERS[PurePosixPath(uri).suffix](path), uri)
    columns = next(lines, None)
    return lines if columns and columns.values.keys() >= _REQUIRED else None


def _guarded(lines: Iterator[Line], uri: str) -> Iterator[Line]:
    try:
        yield from lines
    except _DAMAGE as error:
        raise ConfigError(f"{uri}: no table in UTF-8 ({error}); save it as CSV, JSON lines or Parquet") from error


def _column(name: str) -> str:
    return name.strip().lower()


def _header(columns: Sequence[str]) -> Line:
    return Line("", dict.fromkeys(columns, ""))


def _csv(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = [_column(name) for name in next(reader, [])]
        yield _header(columns)
        for values in filter(any, reader):
            yield Line(f"line {reader.line_num}", *_by_column(columns, values))


def _by_column(columns: Sequence[str], values: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """Values by column, and what is wrong. A comma that nobody quoted is understood where the caption comes last."""
    if len(values) > len(columns) and columns[-1] == "caption":
        values = [*values[: len(columns) - 1], ",".join(values[len(columns) - 1 :])]
    found = dict(zip(columns, (value.strip() for value in values), strict=False))
    if len(values) <= len(columns):
        return found, None
    return found, f"more values than columns; quote the caption if it holds a comma ({found['caption']!r})"


def _json_lines(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig") as file:
        lines = (_object(f"line {number}", text) for number, text in enumerate(file, 1) if text.strip())
        for index, line in enumerate(lines):
            if not index:
                yield _header([*(_REQUIRED if line.fault else line.values)])
            yield line


def _object(place: str, text: str) -> Line:
    try:
        found = json.loads(text)
    except ValueError as error:
        return Line(place, {}, f"no JSON ({error})")
    if not isinstance(found, dict):
        return Line(place, {}, f"no object of file and caption, but {type(found).__name__}")
    return _of_values(place, found)


def _parquet(path: Path) -> Iterator[Line]:
    with pq.ParquetFile(path) as file:
        columns = [column.name for column in file.schema_arrow if not pa.types.is_nested(column.type)]
        yield _header([_column(name) for name in columns])
        batches = (batch.to_pylist() for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns))
        for number, row in enumerate(chain.from_iterable(batches), 1):
            yield _of_values(f"row {number}", row)


def _of_values(place: str, row: Mapping[str, Any]) -> Line:
    """Texts and numbers; what is null is left out, and nothing else speaks for a file."""
    texts: dict[str, str] = {}
    for name, value in row.items():
        column = _column(name)
        if isinstance(value, str):
            texts[column] = value.strip()
        elif isinstance(value, int | float):
            texts[column] = repr(value)
        elif value is not None and column in _REQUIRED:
            return Line(place, {}, f"{name} is no text, but {type(value).__name__}")
    return Line(place, texts)


_READERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
KINDS = (*_READERS,)
