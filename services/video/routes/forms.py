"""Request bodies: JSON, or a form whose bracket names stand for nested values. Bounded before they are read.

Files lie on disk from the first byte to the last: however many come at once, they take no memory.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from services.video.errors import ApiError, refused

_OVERHEAD_BYTES = 2**20  # for the fields beside a file
_BASE64_GROWTH = 4 / 3


@dataclass(frozen=True, slots=True)
class Body:
    """A request's parameters as sent, and its files by the name of their part."""

    values: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sora-") as folder:
        yield Path(folder)


Uploads = Annotated[Path, Depends(_folder)]
"""A folder for the files of a request, which lives as long as it does."""


async def read_body(request: Request, max_bytes: int, uploads: Path | None = None, max_file_bytes: int = 0) -> Body:
    """The body of a request: ``max_bytes`` of it as values, where pictures may be base64, and with a folder for
    ``uploads`` so many more in files. ApiError 400, 413 or 415 when it can't be understood."""
    limit = int(max_bytes * _BASE64_GROWTH) + _OVERHEAD_BYTES
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("application/json", ""):
        return Body(_parse_json(await _bounded(request, limit).body() or b"{}"))
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        bounded = _bounded(request, limit + max_file_bytes)
        async with bounded.form(max_files=16, max_fields=200, max_part_size=limit) as form:
            return await _read_form(form, uploads)
    raise ApiError(415, f"content type {kind!r}: send multipart/form-data or application/json", code="unsupported_type")


def _bounded(request: Request, limit: int) -> Request:
    """The same request, which refuses to deliver more than ``limit`` bytes of body, announced or not."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    return Request(request.scope, receive)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the request is larger than {limit} bytes: send a smaller file", code="too_large")


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(values, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return values


async def _read_form(form: FormData, uploads: Path | None) -> Body:
    files: dict[str, Path] = {}
    fields: list[tuple[str, str]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name.endswith("[]"):  # one file of several
                name = f"{name[:-2]}[{sum(other.startswith(name[:-1]) for other in files)}]"
            if uploads is None:
                raise refused(name, f"{name!r} is a file: none is taken here", "unknown_parameter")
            files[name] = uploads / f"file-{len(files)}"
            await run_in_threadpool(_keep, value, files[name])
        else:
            fields.append((name, value))
    return Body(unflatten(fields), files)


def _keep(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)


def unflatten(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested values of a form: ``a[b]=1`` is ``{"a": {"b": "1"}}``, ``a[]=1`` a list; each name may come once."""
    values: dict[str, Any] = {}
    for name, value in fields:
        head, *rest = name.replace("]", "").split("[")
        if rest == [""]:
            items = values.setdefault(head, [])
            if not isinstance(items, list):
                raise _twice(head)
            items.append(value)
            continue
        place = values
        for part, below in zip([head, *rest], rest, strict=False):
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise _twice(head)
            head = below
        if head in place:
            raise _twice(name)
        place[head] = value
    return values


def _twice(name: str) -> ApiError:
    return refused(name, f"parameter {name!r} is given twice: give it once")
