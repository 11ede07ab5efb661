"""The books are closed: every object and every clip accounted for, then the manifest and the table of reasons."""

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.curate.books import removal
from jobs.curate.books.parts import Part, verdicts_of
from jobs.curate.books.stored import together
from jobs.curate.config import CurateConfig
from jobs.curate.stages.latents import Encoders
from sora_core import shards
from sora_core.errors import ConfigError, InputError, MissingObject, SoraError
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


def prove(parts: Sequence[Part], wanted: Collection[str], stored: frozenset[str]) -> Account:
    """Check that every ``wanted`` URI has its row and every kept clip its latents, and count them.

    ``stored`` are the names of the files of latents that lie there. SoraError when the ledger doesn't add up.
    """
    account = Account(*verdicts_of(parts))
    seen: set[str] = set()
    num_rows = 0
    for part in parts:
        seen.update(part.uris)
        num_rows += part.objects.num_rows
    num_kept, num_latents = account.num(account.clips, "kept"), sum(s.rows for part in parts for s in part.shards)
    lost = {name for part in parts for name in part.shard_names} - stored
    missing = sum(uri not in seen for uri in wanted)
    faults = {
        f"{missing} objects are missing": missing > 0,
        "objects have several rows": num_rows > len(seen),
        "clips have several rows": not all(part.clips_are_distinct for part in parts),
        f"{num_latents} latents for {num_kept} kept clips": num_latents != num_kept,
        f"{len(lost)} files of latents are gone": bool(lost),
    }
    if any(faults.values()):
        found = "; ".join(fault for fault, is_so in faults.items() if is_so)
        raise SoraError(f"the ledger doesn't add up: {found}; run the same command again")
    return account


def write_manifest(config: CurateConfig, encoders: Encoders, account: Account, parts: Sequence[Part]) -> Manifest:
    """The manifest of these parts; one that says the same already is left alone.

    InputError when no clip was kept, ConfigError when more would be lost than the config allows.
    """
    files = sorted((file for part in parts for file in part.stored), key=lambda file: file.shard.path)
    written = tuple(file.shard for file in files)
    current = current_manifest(config.output)
    removal.check_shrunk(current.totals.clips if current else 0, sum(shard.rows for shard in written), config)
    if not written:
        reasons = ", ".join(sorted({reason for _, reason in {*account.sources, *account.clips}}))
        raise InputError(
            f"no clip of {config.source} was kept ({reasons}): see {config.output}/report.html, then change the "
            "thresholds, the captions or the footage"
        )
    removal.mark(config.output, current, written)
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


def check_same_encoders(config: CurateConfig, encoders: Encoders, parts: Sequence[Part], others: Set[str]) -> None:
    """ConfigError when objects that stay as they are have latents of other models than this run makes."""
    ours = (encoders.vae.fingerprint, encoders.text_encoder.fingerprint)
    current = current_manifest(config.output)
    for part in parts if others else ():
        if not part.stored or others.isdisjoint(part.uris):
            continue
        if current:
            made = (current.vae.fingerprint, current.text_encoder.fingerprint)
        else:
            [row] = shards.read_table(config.output, part.shards[0], ["vae", "text_encoder"]).slice(0, 1).to_pylist()
            made = (row["vae"], row["text_encoder"])
        if made != ours:
            raise ConfigError(
                f"{config.output} holds latents of {len(others)} objects that aren't under source = {config.source}, "
                "made by another vae or text_encoder: use the same, give an output of its own, or prune=true"
            )
        if current:
            return


def current_manifest(output: str) -> Manifest | None:
    """What readers go by now."""
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
