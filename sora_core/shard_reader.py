"""Shards read by need: one request tells what lies in a file, one more brings a group of its rows."""

import io
from base64 import b64decode
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from sora_core import storage
from sora_core.errors import CorruptShard
from sora_core.shards import INDEX_KEY, Row, Shard, from_table

_MAGIC = b"PAR1"
# Enough for the footers of nearly all shards; a longer one costs a second request.
_TAIL_BYTES = 128 << 10
# What pyarrow raises for bytes that make no sense: a page's checksum, a cut stream, an impossible length.
_NONSENSE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)


@dataclass(frozen=True, slots=True, eq=False)
class ShardReader:
    """A shard whose footer has been read. Every method raises CorruptShard for bytes that aren't a shard's."""

    uri: str
    size_bytes: int
    footer: pq.FileMetaData

    @classmethod
    def open(cls, data_uri: str, shard: Shard) -> "ShardReader":
        """Read the footer. StorageError when the file can't be reached."""
        uri = storage.join(data_uri, shard.path)
        tail = storage.read_range(uri, max(0, shard.size_bytes - _TAIL_BYTES), _TAIL_BYTES)
        if tail[-4:] != _MAGIC:
            raise _corrupt(uri, f"it doesn't end as a Parquet file of {shard.size_bytes} bytes")
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > len(tail):
            tail = storage.read_range(uri, max(0, shard.size_bytes - length), length)
        try:
            footer = pq.read_metadata(pa.BufferReader(tail))
        except _NONSENSE as error:
            raise _corrupt(uri, f"its footer makes no sense ({error})") from error
        if footer.num_rows != shard.rows:
            raise _corrupt(uri, f"it has {footer.num_rows} rows, its manifest says {shard.rows}")
        return cls(uri, shard.size_bytes, footer)

    @property
    def group_rows(self) -> list[int]:
        """How many rows each group has."""
        return [self.footer.row_group(number).num_rows for number in range(self.footer.num_row_groups)]

    def index(self) -> pa.Table:
        """The small columns of all rows, `shards.INDEX_COLUMNS`, which the footer carries."""
        try:
            text = (self.footer.metadata or {})[INDEX_KEY.encode()]
            with pa.ipc.open_stream(b64decode(text)) as stream:
                return stream.read_all()
        except _NONSENSE as error:
            raise _corrupt(self.uri, f"its footer has no index of its rows ({error})") from error

    def rows(self, group: int) -> list[Row]:
        """The rows of a group; tensors are read-only views of what was read."""
        start, end = self._span(group)
        data = storage.read_range(self.uri, start, end - start)
        try:
            part = _Part(data, start, self.size_bytes)
            file = pq.ParquetFile(part, metadata=self.footer, page_checksum_verification=True)
            return from_table(file.read_row_group(group))
        except _NONSENSE as error:
            raise _corrupt(self.uri, f"group {group} of its rows makes no sense ({error})") from error

    def _span(self, group: int) -> tuple[int, int]:
        """Where a group's columns lie, one after another."""
        known = self.footer.row_group(group)
        columns = [known.column(number) for number in range(known.num_columns)]
        starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
        return min(starts), max(ends)


def _corrupt(uri: str, fault: str) -> CorruptShard:
    return CorruptShard(
        f'{uri}: {fault}; restore it or curate its footage again, or train on without it by on_corrupt = "skip"'
    )


class _Part(io.RawIOBase):
    """A part of a file, at its place in the file."""

    def __init__(self, data: bytes, start: int, file_bytes: int) -> None:
        self._data, self._start, self._file_bytes, self._at = data, start, file_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file_bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        first = self._at - self._start
        if first < 0:
            raise ValueError(f"byte {self._at} lies before the part from {self._start} on")
        part = self._data[first : first + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
