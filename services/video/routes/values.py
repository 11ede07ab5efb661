"""Values as strangers send them, made safe before a schema sees them: bounded in number and depth, of storable text."""

import json
import re
from typing import Any

from services.video.errors import ApiError, refused
from services.video.limits import MAX_DEPTH, MAX_NAME_CHARS, MAX_NODES

_STRUCTURE = b"[{:,"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse_json(data: bytes) -> Any:
    """What a JSON text says. ApiError 400 when it says nothing, or much more than any request of this API."""
    nodes = sum(data.count(mark) for mark in _STRUCTURE)
    if nodes > MAX_NODES:
        raise ApiError(400, f"the JSON has {nodes} brackets, colons and commas: at most {MAX_NODES}", code="too_large")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from error


def from_text(name: str, value: Any) -> Any:
    """A list or an object that came as the text of a form's field; all else as it is. ApiError 400 for half a one."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_json(value.encode("utf-8", "surrogatepass"))
    except ApiError as error:
        raise refused(name, f"{name}: {error.message.replace('the body', 'its text')}", error.code or "") from error


def tidied(value: Any, path: str = "", depth: int = 0) -> Any:
    """The same without the names whose value is null, which means left out.

    ApiError 400 that names the parameter for text that no database stores: NUL, and halves of surrogate pairs.
    """
    if isinstance(value, str):
        found = None if value.isascii() and "\0" not in value else _UNSTORABLE.search(value)
        if found:
            message = f"{path}: the character {found[0]!a} at {found.start()} is none that can be kept: leave it out"
            raise refused(path, message)
        return value
    if not isinstance(value, dict | list):
        return value
    if depth > MAX_DEPTH:
        raise refused(path, f"{path}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [tidied(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]
    for name in value:
        if len(name) > MAX_NAME_CHARS or _UNSTORABLE.search(name):
            shown = ascii(name[:40])[1:-1]
            raise refused(shown, f"unknown parameter {shown!r}", "unknown_parameter")
    kept = {name: item for name, item in value.items() if item is not None}
    return {name: tidied(item, f"{path}.{name}" if path else name, depth + 1) for name, item in kept.items()}
