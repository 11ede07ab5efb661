"""A stored file of latents with everything that the manifest must know of it, so that nobody reads it again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sora_core import shards
from sora_core.shards import Row, Shard, Totals
from sora_core.vae.whitening import WhiteningStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One file of latents, what it holds, the statistics of its latents by split, and the seconds that it took."""

    shard: Shard
    totals: Totals
    channels: Mapping[str, WhiteningStatistics]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As it lies in the ledger."""
        channels = {split: statistics.to_dict() for split, statistics in self.channels.items()}
        return {
            "shard": asdict(self.shard), "totals": asdict(self.totals), "channels": channels, "seconds": self.seconds,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Stored":
        """What `to_dict` gave."""
        channels = {split: WhiteningStatistics.from_dict(found) for split, found in values["channels"].items()}
        return cls(Shard(**values["shard"]), Totals(**values["totals"]), channels, values["seconds"])


def store(rows: Sequence[Row], output: str, path: str, started: float) -> Stored:
    """Write rows as one file of latents at ``path`` under the output; the work on them ``started`` at that monotonic
    time."""
    channels: dict[str, WhiteningStatistics] = {}
    for row in rows:
        statistics = channels.setdefault(row.split, WhiteningStatistics())
        statistics.update(torch.from_numpy(row.latent_mean.astype("float32")))
    shard = shards.write_shard(rows, output, path)
    return Stored(shard, _totals(rows), channels, time.monotonic() - started)


def _totals(rows: Sequence[Row]) -> Totals:
    return Totals(
        clips=len(rows),
        frames=sum(row.pixels.frames for row in rows),
        seconds=sum(row.end_s - row.start_s for row in rows),
        latent_values=sum(row.latent_mean.size for row in rows),
    )


def together(files: Sequence[Stored]) -> tuple[Totals, WhiteningStatistics]:
    """The totals of several files, and the statistics of their training clips (of all where none is for training)."""
    merged = {"train": WhiteningStatistics(), "val": WhiteningStatistics()}
    for file in files:
        for split, statistics in file.channels.items():
            merged[split].merge(statistics)
    totals = Totals(
        clips=sum(file.totals.clips for file in files),
        frames=sum(file.totals.frames for file in files),
        seconds=sum(file.totals.seconds for file in files),
        latent_values=sum(file.totals.latent_values for file in files),
    )
    return totals, merged["train"] if merged["train"].count else merged["val"]
