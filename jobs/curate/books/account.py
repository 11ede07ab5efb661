"""The books are closed: every object and every clip accounted for, then the manifest and the table of reasons."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.curate.books import ledger
from jobs.curate.books.stored import together
from jobs.curate.config import CurateConfig
from jobs.curate.listing import Plan
from jobs.curate.stages.latents import Encoders
from sora_core import shards, storage
from sora_core.errors import InputError, MissingObject, SoraError
from sora_core.shards import Manifest

# How far channels are made equal; in between learns better than either end.
_WHITENING_POWER = 0.5


@dataclass(frozen=True, slots=True)
class Account:
    """Rows by ``(status, reason)``: of objects, and of clips."""

    sources: Counter[tuple[str, str]]
    clips: Counter[tuple[str, str]]

    def num(self, what: Counter[tuple[str, str]], status: str) -> int:
        return sum(number for (found, _), number in what.items() if found == status)

    def __str__(self) -> str:
        lines = [f"{'':10}{'reason':24}{'objects':>9}{'clips':>9}"]
        order = {"kept": 0, "dropped": 1, "failed": 2}
        for status, reason in sorted({*self.sources, *self.clips}, key=lambda key: (order[key[0]], key[1])):
            numbers = (self.sources[status, reason], self.clips[status, reason])
            lines.append(f"{status:10}{reason:24}{numbers[0]:>9}{numbers[1]:>9}")
        lines.append(f"{'':10}{'together':24}{self.sources.total():>9}{self.clips.total():>9}")
        return "\n".join(lines)


def prove(plan: Plan, output: str) -> Account:
    """Check that rows in == kept + dropped + failed, and count them. SoraError when the ledger doesn't add up."""
    rows = ledger.read_rows(output, ["uri", "clip_id", "status", "reason"]).to_pylist()
    account = Account(_count(rows, of_clips=False), _count(rows, of_clips=True))
    objects = Counter(row["uri"] for row in rows if row["clip_id"] is None)
    clips = Counter(row["clip_id"] for row in rows if row["clip_id"] is not None)
    parts = ledger.read_parts(output)
    num_kept, num_latents = account.num(account.clips, "kept"), sum(s.rows for part in parts for s in part.shards)
    named = {name for part in parts for name in part.shard_names}
    lost = named - {storage.name(uri) for uri in ledger.files(output, "latents")}
    strangers = len(plan.keys.keys() ^ objects.keys())
    faults = {
        f"{strangers} objects are missing or unknown": strangers > 0,
        "objects have several rows": max(objects.values(), default=1) > 1,
        "clips have several rows": max(clips.values(), default=1) > 1,
        f"{num_latents} latents for {num_kept} kept clips": num_latents != num_kept,
        f"{len(lost)} files of latents are gone": bool(lost),
    }
    if any(faults.values()):
        found = "; ".join(fault for fault, is_so in faults.items() if is_so)
        raise SoraError(f"the ledger under {output} doesn't add up: {found}; run the same command again")
    return account


def _count(rows: list[dict[str, Any]], *, of_clips: bool) -> Counter[tuple[str, str]]:
    chosen = (row for row in rows if (row["clip_id"] is not None) == of_clips)
    return Counter((row["status"], row["reason"] or "") for row in chosen)


def write_manifest(config: CurateConfig, encoders: Encoders, account: Account) -> Manifest:
    """The manifest of everything in the ledger; one that says the same already is left alone.

    InputError when no clip was kept.
    """
    files = sorted(
        (file for part in ledger.read_parts(config.output) for file in part.stored), key=lambda file: file.shard.path
    )
    written = tuple(file.shard for file in files)
    if not written:
        reasons = ", ".join(sorted({reason for _, reason in {*account.sources, *account.clips}}))
        raise InputError(
            f"no clip of {config.source} was kept ({reasons}): see {config.output}/report.html, then change the "
            "thresholds, the captions or the footage"
        )
    current = _current(config.output)
    if current and current.shards == written and encoders_of(current) == encoders:
        return current
    totals, statistics = together(files)
    whitening = statistics.result(_WHITENING_POWER)
    manifest = Manifest(
        vae=encoders.vae,
        text_encoder=encoders.text_encoder,
        compression=encoders.compression,
        channels=encoders.channels,
        text_dim=encoders.text_dim,
        whitening_mean=whitening.mean,
        whitening_std=whitening.std,
        null_text=encoders.null_text,
        shards=written,
        totals=totals,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config.model_dump(mode="json"),
    )
    shards.write_manifest(manifest, config.output)
    return manifest


def _current(output: str) -> Manifest | None:
    try:
        return shards.read_manifest(output)
    except (MissingObject, InputError):
        return None


def encoders_of(manifest: Manifest) -> Encoders:
    return Encoders(
        vae=manifest.vae,
        text_encoder=manifest.text_encoder,
        compression=manifest.compression,
        channels=manifest.channels,
        text_dim=manifest.text_dim,
        null_text=manifest.null_text,
    )
