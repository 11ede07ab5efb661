"""What is counted with: rates that say how they are known, devices' peaks, and models by size."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sora_core.dit.config import DiTConfig
from sora_core.errors import ConfigError
from sora_core.shapes import Compression

SHIPPED = Path(__file__).parents[1] / "configs" / "plan.toml"
COMPRESSION = Compression()
"""Of the autoencoders of these models."""


def _wan(heads: int, layers: int, ffn_dim: int) -> DiTConfig:
    sizes: dict[str, Any] = {"in_channels": 16, "out_channels": 16, "text_dim": 4096, "patch_size": (1, 2, 2)}
    return DiTConfig(num_attention_heads=heads, attention_head_dim=128, ffn_dim=ffn_dim, num_layers=layers, **sizes)


MODELS = {"0.3b": _wan(8, 20, 4096), "1.3b": _wan(12, 30, 8960), "5b": _wan(24, 30, 14336), "14b": _wan(40, 40, 13824)}
"""Layouts of these sizes; 1.3b and 14b are those of Wan 2.1."""


class Rate(BaseModel):
    """A number and how it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0)
    known: Literal["measured", "assumed"]
    by: str


class Rates(BaseModel):
    """All of them; ``peaks`` in TFLOP/s by device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: dict[str, Rate]
    peaks: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.rates[name].value

    def peak(self, gpu: str) -> float:
        """FLOP/s. ConfigError for a device that the file doesn't name."""
        if gpu not in self.peaks:
            raise ConfigError(f"--gpu {gpu}: none of {', '.join(sorted(self.peaks))}; add its peak to the rates file")
        return 1e12 * self.peaks[gpu]


def load_rates(path: Path | None = None) -> Rates:
    """The rates of a file, over those that ship. ConfigError says what is wrong with it."""
    shipped = tomllib.loads(SHIPPED.read_text())
    try:
        own = tomllib.loads(path.read_text()) if path else {}
        unknown = own.get("rates", {}).keys() - shipped["rates"].keys()
        if unknown:
            raise ConfigError(f"{path}: unknown rates {', '.join(sorted(unknown))}")
        return Rates(rates=shipped["rates"] | own.get("rates", {}), peaks=shipped["peaks"] | own.get("peaks", {}))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"--rates {path}: {error}") from error
