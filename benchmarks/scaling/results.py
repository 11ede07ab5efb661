"""Measured numbers in a JSON file beside the docs, a run at a time, so that what is there isn't run again."""

import json
from pathlib import Path
from typing import Any

DOCS = Path("docs")


class Results:
    """The runs of one study by name; `add` stores at once."""

    def __init__(self, study: str) -> None:
        self._path = DOCS / "scaling" / f"{study}.json"
        self.runs = self._read()

    def add(self, name: str, run: Any) -> None:
        """Store a run beside those that are there by now."""
        self.runs = self._read() | {name: run}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.runs.items()]
        self._path.write_text("{\n" + ",\n".join(rows) + "\n}\n")

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}


def image(study: str) -> Path:
    """Where the plot of a study goes."""
    return DOCS / "images" / f"scaling-{study}.png"
