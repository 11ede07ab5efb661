"""The bucket as a plan of work: every object is a source to examine, or a row that says why not."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from jobs.curate.books.parts import Part
from jobs.curate.config import CurateConfig
from jobs.curate.measure.models import fingerprints
from jobs.curate.rows import TABLE, Examined, Source, short_hash
from jobs.curate.words.beside import Caption, sidecars_of
from jobs.curate.words.tables import read_tables
from sora_core import storage
from sora_core.errors import MissingObject
from sora_core.storage import ObjectInfo

# Each is raised when its stage computes something else than before: the stage and those after it are then done again.
EXAMINE_VERSION = 10
JUDGE_VERSION = 1
ENCODE_VERSION = 2
# Objects that nobody keeps pictures in. Anything else is opened, whatever its name says.
_NOT_MEDIA = frozenset({
    ".txt", ".json", ".jsonl", ".csv", ".tsv", ".md", ".rst", ".html", ".htm", ".xml", ".yaml", ".yml", ".toml",
    ".ini", ".log", ".pdf", ".doc", ".docx", ".srt", ".vtt", ".ass", ".py", ".ipynb", ".sh", ".js", ".css",
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".parquet", ".arrow", ".feather", ".npy",
    ".npz", ".pt", ".pth", ".safetensors", ".pkl", ".db", ".sqlite", ".lock", ".tmp", ".part", ".partial",
    ".crdownload", ".m3u8", ".mpd", ".ds_store", ".gitignore",
})  # fmt: skip
# Names that promise pictures.
_MEDIA = frozenset({
    ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".m2ts", ".mts", ".ogv",
    ".ogg", ".wmv", ".asf", ".flv", ".3gp", ".mxf", ".264", ".h264", ".265", ".hevc", ".ivf", ".obu", ".y4m",
    ".gif", ".apng", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".ppm",
})  # fmt: skip
# Settings that spans and scores depend on.
_IN_EXAMINE_KEY = {"fps", "max_area", "max_frames", "min_frames", "limits"}
# Settings that change who does the work and in what portions, not what comes out; the encoders' names stand for
# weights, which enter by their fingerprints.
_NOT_IN_KEY = {
    "source", "output", "vae", "text_encoder", "num_examiners", "num_encoders", "gpus_per_encoder", "clips_per_batch",
    "sources_per_part", "bytes_per_part", "num_captioners", "caption_endpoint", "models", "scratch_bytes",
    "max_faults_in_a_row", "prune", "max_removed", "grace_hours", "dry_run",
    "limit", "sample",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What the bucket holds: ``sources`` to examine, ``others`` that are rows already."""

    sources: list[Source]
    others: list[Examined]

    @property
    def keys(self) -> dict[str, str]:
        """Key by URI of every object."""
        return {source.uri: source.key for source in [*self.sources, *(row.source for row in self.others)]}


def settings_of(config: CurateConfig, vae: str, text_encoder: str) -> dict[str, Any]:
    """Everything that a row depends on besides its source; ``vae`` and ``text_encoder`` are fingerprints."""
    return config.model_dump(mode="json", exclude=_NOT_IN_KEY) | {
        "encoders": [vae, text_encoder],
        "captions": config.caption_endpoint.name if config.caption_endpoint else config.captioner,
        "filters": filters_of(config),
        "stages": [JUDGE_VERSION, ENCODE_VERSION],
    }


def filters_of(config: CurateConfig) -> str:
    """The fingerprint of the code and the settings that measure: spans and scores are the same while it is."""
    settings = config.model_dump(mode="json", include=_IN_EXAMINE_KEY)
    models = config.models
    arbiter = [models.transitions, models.transitions_dtype] if models.transitions else ""
    return short_hash(EXAMINE_VERSION, settings, arbiter, fingerprints(models))


def make_plan(config: CurateConfig, settings: dict[str, Any], known: Sequence[Part] = ()) -> Plan:
    """List the source. What equals an object of ``known`` parts that isn't there (any more) is a duplicate of that.
    MissingObject when there is no such place or nothing in it."""
    inside = storage.filesystem(config.output)[1].rstrip("/") + "/"
    objects = [
        item for item in storage.list_objects(config.source) if not item.uri.removeprefix("s3://").startswith(inside)
    ]
    if not objects:
        raise MissingObject(f"source = {config.source}: nothing is stored there; correct it or upload footage first")
    elsewhere = _elsewhere(known, {item.uri for item in objects})
    plan = bind(objects, *read_tables(objects), settings, filters_of(config), elsewhere)
    return Plan(_chosen(plan.sources, config), plan.others)


def _chosen(sources: list[Source], config: CurateConfig) -> list[Source]:
    """Those that a trial run takes: which, depends on each one's name alone."""
    share = 1.0 if config.sample is None else config.sample
    return [source for source in sources if zlib.crc32(source.uri.encode()) / 2**32 < share][: config.limit]


def _elsewhere(known: Sequence[Part], listed: set[str]) -> dict[str, str]:
    """URIs by identity of the ledger's objects in a bucket that aren't listed and hold pictures."""
    found: dict[str, str] = {}
    for part in known:
        for row in part.objects.to_pylist():
            if row["kind"] and row["uri"] not in listed and storage.is_s3(row["uri"]):
                found[f"{row['etag']}-{row['size_bytes']}"] = row["uri"]
    return found


def bind(
    objects: Sequence[ObjectInfo],
    table: dict[str, Caption],
    tables: set[str],
    settings: dict[str, Any],
    filters: str,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Give every object its caption and keys, in order of URI. What equals an object ``elsewhere``, by identity, is a
    duplicate of that."""
    unnameable = [item for item in objects if not _is_utf8(item.uri)]
    objects = [item for item in objects if _is_utf8(item.uri)]
    by_uri = {item.uri: item for item in objects}
    media = [item for item in objects if not _is_other(item.uri)]
    sidecars = {item.uri: [by_uri[uri] for uri in sidecars_of(item.uri, by_uri)] for item in media}
    used = tables | {sidecar.uri for found in sidecars.values() for sidecar in found}
    plan = Plan([], [])
    bound = [_source(item, sidecars[item.uri], table.get(item.uri), settings, filters) for item in media]
    # Of equal objects the first with a caption stands for all.
    first = dict(elsewhere)
    for source in sorted(bound, key=lambda source: (not has_words(source), source.uri)):
        first.setdefault(identity_of(source), source.uri)
    for source in bound:
        original = first[identity_of(source)]
        if original == source.uri:
            plan.sources.append(source)
        else:
            key = short_hash(source.key, original)
            copy = replace(source, key=key, examine_key=key, same_as=original)
            plan.others.append(Examined(copy, None, "dropped", "duplicate_object"))
    for item in objects:
        if _is_other(item.uri):
            reason = "sidecar" if item.uri in used else "not_media"
            key = short_hash(item.uri, item.etag, reason)
            plan.others.append(Examined(Source(item.uri, item.etag, item.size, key, key), None, "dropped", reason))
    plan.others.extend(_unnameable(item) for item in unnameable)
    return plan


def _is_utf8(uri: str) -> bool:
    try:
        uri.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unnameable(item: ObjectInfo) -> Examined:
    """The row of an object whose name no table of Unicode text can hold: its bytes are escaped."""
    uri = item.uri.encode(errors="surrogateescape").decode(errors="backslashreplace")
    key = short_hash(uri, item.etag)
    return Examined(Source(uri, item.etag, item.size, key, key), None, "failed", "name_not_utf8")


def identity_of(item: ObjectInfo | Source) -> str:
    """The content of an object. In a bucket equal ETags are equal bytes; a local file's is only its size and time."""
    return f"{item.etag}-{item.size}" if storage.is_s3(item.uri) else f"{item.etag}-{item.uri}"


def _is_other(uri: str) -> bool:
    name = storage.name(uri).lower()
    return PurePosixPath(name).suffix in _NOT_MEDIA or name in _NOT_MEDIA


def has_words(source: Source) -> bool:
    """Whether people may have said something of it."""
    return bool(source.caption_uris or source.caption or source.said)


def _source(
    item: ObjectInfo, sidecars: Sequence[ObjectInfo], caption: Caption | None, settings: dict[str, Any], filters: str
) -> Source:
    said = caption or Caption(None, None)
    words = [*([sidecar.uri, sidecar.etag] for sidecar in sidecars), *map(astuple, said.spans)]
    key = short_hash(item.uri, item.etag, item.size, words, said.text, said.licence, settings)
    examine_key = short_hash(item.uri, item.etag, item.size, filters)
    captioner = TABLE if said.text or said.spans else "none"
    uris = tuple(sidecar.uri for sidecar in sidecars)
    return Source(
        item.uri, item.etag, item.size, key, examine_key, uris, said.text, said.licence, said.spans, captioner
    )


def is_named_as_media(uri: str) -> bool:
    """Whether the name promises pictures, so that a file without any is a failure and no stranger."""
    return PurePosixPath(storage.name(uri).lower()).suffix in _MEDIA


def parts(sources: Sequence[Source], max_sources: int, max_bytes: int) -> Iterator[list[Source]]:
    """Consecutive sources as units of work. They depend on the listing alone, so a part done again is the same part."""
    part: list[Source] = []
    size = 0
    for source in sources:
        if part and (len(part) == max_sources or size + source.size > max_bytes):
            yield part
            part, size = [], 0
        part.append(source)
        size += source.size
    if part:
        yield part
