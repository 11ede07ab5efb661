"""One stage of the benchmark: what it runs on, and what it has found so far."""

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.layouts import Scale


@dataclass
class Stage:
    """``found`` is written after every number; ``end`` is the time of the clock at which everything ends."""

    out: Path
    name: str
    device: torch.device
    scale: Scale
    inputs: Path | None
    end: float
    found: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    began: float = field(default_factory=time.monotonic)

    def note(self, name: str, value: object) -> None:
        """A number."""
        self.found[name] = value
        self.write("running")

    def check(self, name: str, find: Callable[[], object]) -> None:
        """What ``find`` returns; what it raises is a finding too, and the others go on."""
        try:
            if (found := find()) is not None:
                self.note(name, found or "right")
        except (AssertionError, RuntimeError, NotImplementedError, ImportError) as error:
            traceback.print_exc()
            self.failed = True
            self.note(name, " ".join(f"{type(error).__name__}: {error}".split())[:300])

    def write(self, state: str) -> None:
        """Put it where the one who waits looks."""
        line = {"state": state, "seconds": round(time.monotonic() - self.began, 1), "found": self.found}
        temporary = self.out / f"{self.name}.json.part"
        temporary.write_text(json.dumps(line))
        temporary.replace(self.out / f"{self.name}.json")
