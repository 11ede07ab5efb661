"""From a request's body to typed values, and from their types to the schema that clients see."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.video.errors import ApiError, refused
from services.video.routes.forms import Body
from services.video.routes.values import from_text, tidied
from services.video.schemas import WRONG

M = TypeVar("M", bound=BaseModel)
_BESIDE = "extra_body"  # the official clients unpack it themselves; a peer's benchmark sends it as a form's field


def parse(schema: type[M], body: Body, *, files: tuple[str, ...] = ()) -> M:
    """The request as typed values; ApiError 400 that names the first parameter that is unknown or wrong.

    ``files`` are the parameters that may come as a file.
    """
    nested, said = _nested(schema), body.values
    beside = from_text(_BESIDE, said.get(_BESIDE))
    if isinstance(beside, dict) and _BESIDE not in schema.model_fields:
        said = {name: value for name, value in said.items() if name != _BESIDE} | beside
    values = tidied({name: from_text(name, value) if name in nested else value for name, value in said.items()})
    for name in body.files:
        if name not in files:
            raise _unknown(schema, name)
        if name in values:
            raise refused(name, f"parameter {name!r} is given twice: give it once")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _refusal(schema, values, error.errors(include_url=False)[0]) from error


def _refusal(schema: type[BaseModel], values: dict[str, Any], first: ErrorDetails) -> ApiError:
    place = _place(first["loc"], values, missing=first["type"] == "missing")
    param, message = ".".join(place), first["msg"]
    if first["type"] == "extra_forbidden":
        return _unknown(schema, param)
    if first["type"] == "missing":
        return refused(param, f"parameter {param!r} is required", "missing_parameter")
    if first["type"] == WRONG:
        param, message = ".".join([*place, first["ctx"]["param"]]), first["ctx"]["message"]
    return refused(param, f"{param}: {message}")


def _place(loc: Sequence[int | str], values: Any, *, missing: bool) -> list[str]:
    """Where in the values an error lies; pydantic's own place also names the branches of its unions."""
    place = []
    for step in loc:
        listed = isinstance(values, list) and isinstance(step, int) and step < len(values)
        if listed or (isinstance(values, dict) and step in values):
            values = values[step]
        elif not missing or step != loc[-1]:
            continue
        place.append(str(step))
    return place or [str(step) for step in loc[:1]]


def _unknown(schema: type[BaseModel], name: str) -> ApiError:
    known = ", ".join(schema.model_fields)
    return refused(name, f"unknown parameter {name!r}: the parameters are {known}", "unknown_parameter")


@cache
def _nested(schema: type[BaseModel]) -> frozenset[str]:
    """The parameters that may be lists or objects, which a form may hold as JSON texts."""

    def is_nested(part: dict[str, Any]) -> bool:
        return "$ref" in part or part.get("type") in ("array", "object") or any(map(is_nested, part.get("anyOf", ())))

    return frozenset(name for name, part in schema.model_json_schema()["properties"].items() if is_nested(part))


def body_schema(schema: type[BaseModel], *, files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The OpenAPI text of a body that comes as JSON or, when some parameters may be files, as a form too."""
    as_json = _inlined(schema.model_json_schema())
    content = {"application/json": {"schema": as_json}}
    if files:
        known = as_json["properties"]
        uploads = {
            name: {
                "type": "string",
                "format": "binary",
                "description": known.get(name, {}).get("description", "a file"),
            }
            for name in files
        }
        # Which fields exclude one another is said of JSON alone: tools that check documents can't weigh files.
        form = {**as_json, "properties": {**known, **uploads}}
        form.pop("not", None)
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without references, which would point nowhere from inside an OpenAPI document."""
    parts = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolve(parts[value["$ref"].removeprefix("#/$defs/")])
        return {name: resolve(item) for name, item in value.items()}

    inlined: dict[str, Any] = resolve(schema)
    return inlined
