"""Request bodies: JSON, or a form whose bracket names stand for nested values. Bounded before they are read."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from services.video.errors import ApiError, refused

_OVERHEAD_BYTES = 2**20  # for the fields beside a file
_BASE64_GROWTH = 4 / 3


@dataclass(frozen=True, slots=True)
class Body:
    """A request's parameters as sent, and its files by the name of their part."""

    values: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


async def read_body(request: Request, max_upload_bytes: int) -> Body:
    """The body of a create request; ApiError 400, 413 or 415 when it can't be understood."""
    limit = int(max_upload_bytes * _BASE64_GROWTH) + _OVERHEAD_BYTES
    bounded = _bounded(request, limit)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("application/json", ""):
        return Body(_parse_json(await bounded.body() or b"{}"))
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        async with bounded.form(max_files=16, max_fields=200, max_part_size=limit) as form:
            return await _read_form(form)
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


async def _read_form(form: FormData) -> Body:
    files: dict[str, bytes] = {}
    fields: list[tuple[str, str]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name.endswith("[]"):  # one file of several
                name = f"{name[:-2]}[{sum(other.startswith(name[:-1]) for other in files)}]"
            files[name] = await value.read()
        else:
            fields.append((name, value))
    return Body(unflatten(fields), files)


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
