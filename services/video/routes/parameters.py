"""From a request's body to typed values, and from their types to the schema that clients see."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.video.errors import ApiError, refused
from services.video.routes.forms import Body

M = TypeVar("M", bound=BaseModel)


def parse(schema: type[M], body: Body, *, files: tuple[str, ...] = ()) -> M:
    """The request as typed values; ApiError 400 that names the first parameter that is unknown or wrong.

    ``files`` are the parameters that may come as a file.
    """
    for name in body.files:
        if name not in files:
            raise _unknown(schema, name)
        if name in body.values:
            raise refused(name, f"parameter {name!r} is given twice: give it once")
    try:
        return schema.model_validate(body.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise _unknown(schema, param) from error
        if first["type"] == "missing":
            raise refused(param, f"parameter {param!r} is required", "missing_parameter") from error
        raise refused(param, f"{param}: {first['msg']}") from error


def _unknown(schema: type[BaseModel], name: str) -> ApiError:
    known = ", ".join(schema.model_fields)
    return refused(name, f"unknown parameter {name!r}: the parameters are {known}", "unknown_parameter")


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
        form = {**as_json, "properties": {**known, **uploads}}
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
