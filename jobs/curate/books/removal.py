"""What may be taken away, and when: nothing without being asked for, never much without being named, and files last.

A reader in mid-run goes by the manifest that it began with. So files of latents that a manifest named are marked when
a new one leaves them out, and are deleted by a run that comes after a time of grace.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence

from jobs.curate.books import ledger
from jobs.curate.books.lease import Lease
from jobs.curate.books.parts import Part
from jobs.curate.config import CurateConfig
from sora_core import storage
from sora_core.errors import ConfigError, MissingObject
from sora_core.shards import Manifest, Shard

_EXAMPLES = 3


def check_pruned(parts: Sequence[Part], wanted: Mapping[str, str], config: CurateConfig) -> None:
    """ConfigError when ``prune`` would remove more of the ledger's objects than the config says."""
    uris = [uri for part in parts for uri in part.uris]
    gone = [uri for uri in uris if uri not in wanted]
    if config.prune and len(gone) > config.max_removed * len(uris):
        raise ConfigError(
            f"prune=true would remove {len(gone)} of {len(uris)} objects ({', '.join(gone[:_EXAMPLES])}, ...), which "
            f"aren't under source = {config.source}: correct the source, or allow it by max_removed="
            f"{_allowing(len(gone) / len(uris))}"
        )


def check_shrunk(before: int, after: int, config: CurateConfig) -> None:
    """ConfigError when a corpus of so many clips would lose more of them than the config says."""
    if after < (1 - config.max_removed) * before:
        lost = before - after
        raise ConfigError(
            f"{lost} of the {before} clips under {config.output} would go, more than max_removed = "
            f"{config.max_removed:g}; nothing was removed. If that is meant (`judge --dry-run` says which): "
            f"max_removed={_allowing(lost / before)}"
        )


def _allowing(share: float) -> str:
    return f"{min(1.0, share + 0.005):.2f}"


def mark(output: str, before: Manifest | None, live: Iterable[Shard]) -> None:
    """Note the time at which files that the last manifest named are left out of the next: before that is written."""
    names = {shard.path for shard in live}
    marks = _marks(output)
    now = time.time()
    kept = {path: at for path, at in marks.items() if path not in names}
    kept |= {shard.path: now for shard in (before.shards if before else ()) if shard.path not in names | kept.keys()}
    if kept != marks:
        storage.write_bytes(_uri(output), json.dumps(kept, indent=1).encode())


def sweep(output: str, retired: Iterable[str], live: Iterable[Part], grace_hours: float, lease: Lease) -> None:
    """Delete parts of the ledger that are ``retired``, and latents that no ``live`` part names: at once those that no
    manifest named, and the others when their grace is over."""
    lease.check()
    for name in retired:
        storage.delete(ledger.part_uri(output, name))
    names = {shard.path for part in live for shard in part.shards}
    marks = _marks(output)
    due = {path for path, at in marks.items() if time.time() - at >= grace_hours * 3600}
    for uri in ledger.files(output, "latents"):
        path = f"latents/{storage.name(uri)}"
        if path not in names and (path not in marks or path in due):
            storage.delete(uri)
    if due:
        left = {path: at for path, at in marks.items() if path not in due}
        if left:
            storage.write_bytes(_uri(output), json.dumps(left, indent=1).encode())
        else:
            storage.delete(_uri(output))


def _marks(output: str) -> dict[str, float]:
    """Unix time in seconds at which a file was left out, by its path under the output."""
    try:
        marks: dict[str, float] = json.loads(storage.read_bytes(_uri(output)))
    except MissingObject:
        return {}
    return marks


def _uri(output: str) -> str:
    return storage.join(output, "removed.json")
