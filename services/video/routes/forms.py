"""Request bodies: JSON, or a form whose bracket names stand for nested values. Bounded before they are read."""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from services.video.config import ApiSettings
from services.video.errors import ApiError, refused
from services.video.limits import FORM_OVERHEAD_BYTES, MAX_DEPTH, MAX_FIELDS, MAX_NAME_CHARS
from services.video.routes.multipart import read_form
from services.video.routes.values import parse_json
from sora_core import storage

_BASE64_GROWTH = 1.4  # also where it is broken into lines


@dataclass(frozen=True, slots=True)
class Body:
    """A request's parameters as sent, and its files by the name of their part."""

    values: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


def _folder() -> Iterator[Path]:
    with storage.scratch() as folder:
        yield folder


Uploads = Annotated[Path, Depends(_folder)]
"""A folder for the files of a request, which lives as long as it does."""


async def read_body(
    request: Request,
    patience: ApiSettings,
    max_bytes: int,
    uploads: Path | None = None,
    max_file_bytes: int = 0,
    may_be_files: Collection[str] = (),
) -> Body:
    """The body of a request: ``max_bytes`` of it as values, where pictures may be base64, and with a folder for
    ``uploads`` so many more in files. ApiError 400, 413 or 415 when it can't be understood, 408 when it comes too
    slowly."""
    limit = int(max_bytes * _BASE64_GROWTH) + FORM_OVERHEAD_BYTES
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("application/json", ""):
        data = await _whole(request, limit, patience)
        return Body(await run_in_threadpool(_object, data or b"{}"))
    if kind == "application/x-www-form-urlencoded":
        fields = await run_in_threadpool(_pairs, await _whole(request, limit, patience))
        return Body(unflatten(fields))
    if kind == "multipart/form-data":
        stream = _bounded(request, limit + max_file_bytes, patience)
        names = {name.partition("[")[0] for name in may_be_files}
        form = await read_form(request.headers, stream, uploads, names, limit)
        return Body(unflatten(form.fields), form.files)
    raise ApiError(415, f"content type {kind!r}: send multipart/form-data or application/json", code="unsupported_type")


async def _bounded(request: Request, limit: int, patience: ApiSettings) -> AsyncGenerator[bytes]:
    """The body piece by piece; ApiError 413 when it is more than ``limit`` bytes, announced or not."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    received, chunks = 0, request.stream()
    give_up = time.monotonic() + patience.body_timeout_s
    while True:
        left_s = min(patience.body_pause_s, give_up - time.monotonic())
        try:
            chunk = await asyncio.wait_for(anext(chunks, None), left_s)
        except TimeoutError:
            message = (
                f"the body came too slowly: {received} bytes, then a pause, or {patience.body_timeout_s:g} s in all"
            )
            raise ApiError(408, message, code="timeout", headers={"connection": "close"}) from None
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        yield chunk


async def _whole(request: Request, limit: int, patience: ApiSettings) -> bytes:
    data = bytearray()
    async for chunk in _bounded(request, limit, patience):
        data += chunk
    return bytes(data)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the request is larger than {limit} bytes: send a smaller file", code="too_large")


def _object(data: bytes) -> dict[str, Any]:
    values = parse_json(data)
    if not isinstance(values, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return values


def _pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(data.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise ApiError(400, f"the form can't be read: {error}", code="invalid_form") from error


def unflatten(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested values of a form: ``a[b]=1`` is ``{"a": {"b": "1"}}``, ``a[]=1`` a list; each name may come once.

    ``a[][b]=1`` is an object in a list, and a name that it has already begins the next one, as the official clients
    write lists of objects. What is empty counts as left out.
    """
    values: dict[str, Any] = {}
    for name, value in fields:
        if value == "":
            continue
        depth = name.count("[")
        if len(name) > MAX_NAME_CHARS or depth > MAX_DEPTH:
            message = f"a name of {len(name)} characters, nested {depth} deep: at most {MAX_NAME_CHARS}"
            raise refused(name[:40], f"{message} and {MAX_DEPTH}")
        head, *rest = name.replace("]", "").split("[")
        if not _put(values, [head, *rest], value):
            raise refused(name, f"parameter {name!r} is given twice: give it once")
    return {name: _listed(value) for name, value in values.items()}


def _put(place: dict[str, Any], path: list[str], value: str) -> bool:
    """Put a value at a path; False when something else is there."""
    head, *rest = path
    if not rest:
        if head in place:
            return False
        place[head] = value
        return True
    if rest[0] != "":
        inner = place.setdefault(head, {})
        return isinstance(inner, dict) and _put(inner, rest, value)
    items = place.setdefault(head, [])
    if not isinstance(items, list):
        return False
    if len(rest) == 1:
        items.append(value)
        return True
    if items and isinstance(items[-1], dict) and _put(items[-1], rest[1:], value):
        return True
    items.append({})
    return _put(items[-1], rest[1:], value)


def _listed(value: Any) -> Any:
    """An object whose names are 0, 1, 2 ... as the list that it stands for; all else as it is."""
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(item) for name, item in value.items()}
    if not all(name.isdecimal() for name in inner):
        return inner
    return [inner[name] for name in sorted(inner, key=int)]
