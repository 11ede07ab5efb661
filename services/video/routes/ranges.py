"""Byte ranges of stored files, as browsers and download tools ask for them."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from services.video.errors import ApiError

_CHUNK_BYTES = 2**18
_SINGLE = re.compile(r"bytes=(\d*)-(\d*)$")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last, or None for the whole file (also for what isn't understood).

    ApiError 416 when the file has no such bytes.
    """
    match = _SINGLE.match((header or "").replace(" ", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.group(1), match.group(2)
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        message = f"the file has {size} bytes, the range starts at {start}"
        raise ApiError(416, message, code="invalid_range", headers={"content-range": f"bytes */{size}"})
    return start, end


def chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes from ``start`` to before ``end``; closes the file."""
    with file:
        file.seek(start)
        left = end - start
        while left > 0:
            data = file.read(min(_CHUNK_BYTES, left))
            if not data:
                raise OSError(f"the stored file ends {left} bytes early")
            left -= len(data)
            yield data
