"""What travels between the stages: a source with its clips. Paths, spans and numbers; never pixels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

Status = Literal["kept", "dropped", "failed"]
# The captioner of words from a table.
TABLE = "table"


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody said of a span of a file."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """One stored object, and the caption that is bound to it.

    ``caption_uris`` are sidecars still to be read, ``captioner`` says whose words ``caption`` and ``said``, those of
    spans of it, are. ``key`` names this
    object's content together with every setting that its rows depend on: while it stays the same, the work stays done.
    ``examine_key`` names the content and the settings of the measurement alone; ``previous`` is the part of the ledger
    that holds such a measurement already. ``same_as`` is the object that stands for this one; ``copies`` are those of
    its clips that other clips stand for, by clip id.
    """

    uri: str
    etag: str
    size: int
    key: str
    examine_key: str
    caption_uris: tuple[str, ...] = ()
    caption: str | None = None
    licence: str | None = None
    said: tuple[Words, ...] = ()
    captioner: str = "none"
    previous: str | None = None
    same_as: str | None = None
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured on a clip; None is unknown. `jobs.curate.measure.score` has the units."""

    sharpness: float | None = None
    luma: float | None = None
    contrast: float | None = None
    motion: float | None = None
    frozen: float | None = None
    bars: float | None = None
    shake: float | None = None
    blockiness: float | None = None
    quantiser: float | None = None
    duplicated: float | None = None
    text: float | None = None
    indecency: float | None = None
    aesthetic: float | None = None
    watermark: float | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """A span of a source, its size on the way in (scaled, then ``height x width`` cut out), scores and verdict.

    ``description`` and ``summary`` are what the rule-based describer says of it, long and short. ``caption`` is what
    it is trained with, and ``captioner`` whose words these are. ``area`` is the picture's in its file, in pixels;
    `sora_core.likeness` explains the ``fingerprint``. ``same_as`` is the clip that stands for this one.
    """

    clip_id: str
    start_s: float
    end_s: float
    fps: float
    frames: int
    height: int
    width: int
    scaled_height: int
    scaled_width: int
    top: int
    left: int
    description: str
    summary: str
    scores: Scores
    status: Status
    reason: str | None
    caption: str | None = None
    captioner: str = "none"
    preview: bytes | None = None
    area: int = 0
    fingerprint: bytes = b""
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """A source after the stages that look at it. Without clips, ``status`` and ``reason`` are its own."""

    source: Source
    kind: str | None
    status: Status
    reason: str | None
    clips: list[Clip] = field(default_factory=list)
    examine_s: float = 0.0
    decoded_frames: int = 0


def short_hash(*values: Any) -> str:
    """An id for JSON-able values: equal values, equal id, on any machine."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]


_SOURCE = pa.struct(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("key", pa.string()),
        ("examine_key", pa.string()),
        ("caption_uris", pa.list_(pa.string())),
        ("caption", pa.string()),
        ("licence", pa.string()),
        ("said", pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("text", pa.string())]))),
        ("captioner", pa.string()),
        ("previous", pa.string()),
        ("same_as", pa.string()),
    ]
)
SCORE_NAMES = tuple(Scores.__dataclass_fields__)
_CLIP = pa.struct(
    [
        ("clip_id", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("fps", pa.float64()),
        *((name, pa.int32()) for name in ("frames", "height", "width", "scaled_height", "scaled_width", "top", "left")),
        *((name, pa.string()) for name in ("description", "summary")),
        ("scores", pa.struct([(name, pa.float64()) for name in SCORE_NAMES])),
        *((name, pa.string()) for name in ("status", "reason", "caption", "captioner")),
        ("preview", pa.binary()),
        ("area", pa.int64()),
        ("fingerprint", pa.binary()),
        ("same_as", pa.string()),
    ]
)
_EXAMINED = pa.schema(
    [
        ("source", _SOURCE),
        ("kind", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("clips", pa.list_(_CLIP)),
        ("examine_s", pa.float64()),
        ("decoded_frames", pa.int64()),
    ]
)


def part_to_item(part: Sequence[Source]) -> dict[str, str]:
    """A part as one item of a dataset, so that nothing can tear it apart."""
    return {"part": json.dumps([asdict(source) for source in part])}


def part_from_table(table: pa.Table) -> list[Source]:
    return [_source(source) for part in table.column("part").to_pylist() for source in json.loads(part)]


def _source(values: dict[str, Any]) -> Source:
    said = tuple(Words(**words) for words in values["said"])
    return Source(**values | {"caption_uris": tuple(values["caption_uris"]), "said": said})


def examined_to_table(rows: Sequence[Examined]) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=_EXAMINED)


def examined_from_table(table: pa.Table) -> list[Examined]:
    return [
        Examined(
            **row
            | {
                "source": _source(row["source"]),
                "clips": [Clip(**clip | {"scores": Scores(**clip["scores"])}) for clip in row["clips"]],
            }
        )
        for row in table.to_pylist()
    ]
