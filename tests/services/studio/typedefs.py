"""JSDoc types from the service's OpenAPI document: ``python -m tests.services.studio.typedefs`` writes them anew."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.video.api import create_app
from services.video.config import ServiceConfig

FILE = Path(__file__).parents[3] / "services" / "studio" / "api" / "types.js"
# What the studio reads. Anything that these name comes along.
READ = (
    "Video", "VideoList", "ModelCard", "Character", "ServiceStatus", "FootageTotals", "FootageClipList",
    "TrainingRunDetails",
)  # fmt: skip
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def document() -> dict[str, Any]:
    """The OpenAPI document of the service as it is configured without anything."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServiceConfig(checkpoint="none", output="none", ledger=f"sqlite:///{folder}/ledger.db"))
        described: dict[str, Any] = app.openapi()
        app.state.service.ledger.close()
    return described


def jsdoc(schema: Mapping[str, Any]) -> str:
    """A schema as a type of TypeScript."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(jsdoc(option) for option in schema["anyOf"])
    if "prefixItems" in schema:
        return f"[{', '.join(jsdoc(item) for item in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        return f"({jsdoc(schema.get('items', {}))})[]"
    if schema.get("type") == "object":
        return "Record<string, any>"
    return _PLAIN.get(str(schema.get("type")), "any")


def named(schema: Any) -> set[str]:
    """The schemas that one refers to."""
    if isinstance(schema, list):
        return set().union(*map(named, schema))
    if not isinstance(schema, dict):
        return set()
    own = {str(schema["$ref"]).rsplit("/", 1)[-1]} if "$ref" in schema else set()
    return own.union(*map(named, schema.values()))


def written(schemas: Mapping[str, Any]) -> str:
    """The file: a typedef for every schema that the studio reads."""
    wanted = list(READ)
    for name in wanted:
        wanted += sorted(named(schemas[name]) - set(wanted))
    lines = [
        "// Types of the HTTP API, from its OpenAPI document: python -m tests.services.studio.typedefs",
        "// What an answer lacks on servers without this one's extensions is optional where the studio reads it.",
    ]
    for name in sorted(wanted):
        schema = schemas[name]
        if "enum" in schema:
            lines.append(f"/** @typedef {{{jsdoc(schema)}}} {name} */")
            continue
        lines.append(f"/** @typedef {{Object}} {name}")
        for field, described in schema["properties"].items():
            lines.append(f" * @property {{{jsdoc(described)}}} {field}")
        lines.append(" */")
    return "\n".join([*lines, "export {};", ""])


if __name__ == "__main__":
    FILE.write_text(written(document()["components"]["schemas"]))
    sys.stdout.write(f"{FILE}\n")
