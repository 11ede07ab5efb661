"""Notice board 1, from curation to training: latent shards in Parquet and the manifest that describes them.

A shard is readable with plain pyarrow, DuckDB or ``datasets``: tensors are float16 lists beside their shape.
Latents are stored raw (posterior mean and std); a reader whitens them with the manifest's statistics.
"""

import io
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sora_core import storage
from sora_core.errors import CheckpointError, FingerprintMismatch, MissingObject
from sora_core.shapes import Compression, PixelShape

Half = np.ndarray[Any, np.dtype[np.float16]]

SCHEMA_VERSION = 2
GROUP_BYTES = 1 << 20
"""About what a group of rows holds: as much as one request should bring, as little as a shuffled order wants."""
MAX_GROUP_ROWS = 64
INDEX_KEY = "sora.index"
INDEX_COLUMNS = ("split", "start_s", "end_s", "fps", "licence", "latent_shape", "text_shape")
_TENSORS = ("latent_mean", "latent_std", "text")

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("scaled_height", pa.int32(), nullable=False),
        pa.field("scaled_width", pa.int32(), nullable=False),
        pa.field("top", pa.int32(), nullable=False),
        pa.field("left", pa.int32(), nullable=False),
        pa.field("vae", pa.string(), nullable=False),
        pa.field("vae_dtype", pa.string(), nullable=False),
        pa.field("text_encoder", pa.string(), nullable=False),
        pa.field("captioner", pa.string(), nullable=False),
        pa.field("filters", pa.string(), nullable=False),
        pa.field("encode_version", pa.int32(), nullable=False),
        pa.field("latent_shape", pa.list_(pa.int32(), 4), nullable=False),
        pa.field("latent_mean", pa.list_(pa.float16()), nullable=False),
        pa.field("latent_std", pa.list_(pa.float16()), nullable=False),
        pa.field("text_shape", pa.list_(pa.int32(), 2), nullable=False),
        pa.field("text", pa.list_(pa.float16()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a row out of its span: frames scaled to ``scaled_height x scaled_width``, then cut out of that at
    ``top`` and ``left``.

    ``vae`` and ``text_encoder`` are fingerprints, ``filters`` that of the code and settings that measured the clip;
    ``captioner`` says whose words the caption is, ``encode_version`` which code encoded it.
    """

    scaled_height: int
    scaled_width: int
    top: int
    left: int
    vae: str
    vae_dtype: str
    text_encoder: str
    captioner: str
    filters: str
    encode_version: int


PROVENANCE = tuple(item.name for item in fields(Provenance))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One clip: where it came from, its caption, its latents ``(c, t, h, w)`` and text states ``(m, d)``."""

    clip_id: str
    uri: str
    etag: str
    start_s: float
    end_s: float
    fps: float
    pixels: PixelShape
    split: Literal["train", "val"]
    caption: str
    licence: str | None
    made: Provenance
    latent_mean: Half
    latent_std: Half
    text: Half


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a manifest; ``path`` is relative to the manifest's folder."""

    path: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Encoder:
    """The model that made a column: where it was loaded from, and the hash of its config and weights."""

    source: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What a manifest holds, all shards together."""

    clips: int = 0
    frames: int = 0
    seconds: float = 0.0
    latent_values: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a training run must know about its data before it reads a row.

    ``whitening_mean`` and ``whitening_std`` have one value a channel; ``null_text`` is the encoding ``(m, d)`` of the
    empty caption, which stands in for a dropped one.
    """

    vae: Encoder
    text_encoder: Encoder
    compression: Compression
    channels: int
    text_dim: int
    whitening_mean: tuple[float, ...]
    whitening_std: tuple[float, ...]
    null_text: tuple[tuple[float, ...], ...]
    shards: tuple[Shard, ...]
    totals: Totals
    created_at: str
    config: dict[str, Any] = field(default_factory=dict)
    version: int = SCHEMA_VERSION

    def check_encoders(self, *, vae: str, text_encoder: str) -> None:
        """Raise FingerprintMismatch unless the latents and text states come from these models (fingerprints)."""
        for what, made_by, given in (
            ("latents", self.vae, vae),
            ("text states", self.text_encoder, text_encoder),
        ):
            if made_by.fingerprint != given:
                raise FingerprintMismatch(
                    f"the {what} were made by {made_by.source!r} ({made_by.fingerprint[:12]}), the model at hand is "
                    f"{given[:12]}: load {made_by.source!r}, or curate again with the other model"
                )


def to_json(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=1).encode()


def from_json(data: bytes) -> Manifest:
    """Parse a manifest. CheckpointError names missing or surplus keys and another version."""
    raw = json.loads(data)
    known = {item.name for item in fields(Manifest)}
    if set(raw) != known or raw["version"] != SCHEMA_VERSION:
        raise CheckpointError(
            f"manifest of version {raw.get('version')} with missing keys {sorted(known - set(raw))} and unknown keys "
            f"{sorted(set(raw) - known)}: this code reads version {SCHEMA_VERSION}; curate again"
        )
    return Manifest(
        **raw
        | {
            "vae": Encoder(**raw["vae"]),
            "text_encoder": Encoder(**raw["text_encoder"]),
            "compression": Compression(**raw["compression"]),
            "whitening_mean": tuple(raw["whitening_mean"]),
            "whitening_std": tuple(raw["whitening_std"]),
            "null_text": tuple(tuple(state) for state in raw["null_text"]),
            "shards": tuple(Shard(**shard) for shard in raw["shards"]),
            "totals": Totals(**raw["totals"]),
        }
    )


def write_manifest(manifest: Manifest, data_uri: str) -> None:
    """Store ``manifest.json`` under a curated folder, whole or not at all."""
    storage.write_bytes(storage.join(data_uri, "manifest.json"), to_json(manifest))


def read_manifest(data_uri: str) -> Manifest:
    """The manifest of a curated folder. MissingObject when curation hasn't finished there."""
    uri = storage.join(data_uri, "manifest.json")
    try:
        return from_json(storage.read_bytes(uri))
    except MissingObject as error:
        raise MissingObject(f"{uri}: no manifest; run jobs.curate with output={data_uri} first") from error


# --- rows


def _lists(arrays: Sequence[Half]) -> pa.ListArray:
    """A list column from arrays of any shape, without a Python object a value."""
    offsets = np.concatenate([[0], np.cumsum([array.size for array in arrays])]).astype(np.int32)
    values = np.concatenate([array.astype(np.float16).ravel() for array in arrays] or [np.zeros(0, np.float16)])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table of `SCHEMA`."""
    plain = ("clip_id", "uri", "etag", "start_s", "end_s", "fps", "split", "caption", "licence")
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in plain}
    columns |= {side: [getattr(row.pixels, side) for row in rows] for side in ("frames", "height", "width")}
    columns |= {name: [getattr(row.made, name) for row in rows] for name in PROVENANCE}
    columns["latent_shape"] = [list(row.latent_mean.shape) for row in rows]
    columns["text_shape"] = [list(row.text.shape) for row in rows]
    arrays = {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}
    arrays |= {name: _lists([getattr(row, name) for row in rows]) for name in _TENSORS}
    return pa.table([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def from_table(table: pa.Table) -> list[Row]:
    """The rows of a table of `SCHEMA`; tensors are read-only views of its buffers."""
    shapes = {name: table.column(name).to_pylist() for name in ("latent_shape", "text_shape")}
    columns = table.select([name for name in SCHEMA.names if name not in _TENSORS]).to_pylist()
    tensors = {name: list(_tensors(table.column(name))) for name in _TENSORS}
    return [
        Row(
            **{name: plain[name] for name in ("clip_id", "uri", "etag", "start_s", "end_s", "fps")},
            pixels=PixelShape(plain["frames"], plain["height"], plain["width"]),
            split=plain["split"],
            caption=plain["caption"],
            licence=plain["licence"],
            made=Provenance(**{name: plain[name] for name in PROVENANCE}),
            latent_mean=tensors["latent_mean"][i].reshape(shapes["latent_shape"][i]),
            latent_std=tensors["latent_std"][i].reshape(shapes["latent_shape"][i]),
            text=tensors["text"][i].reshape(shapes["text_shape"][i]),
        )
        for i, plain in enumerate(columns)
    ]


def _tensors(column: pa.ChunkedArray) -> Iterator[Half]:
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy()
        values = chunk.values.to_numpy(zero_copy_only=True)
        yield from (values[a:b] for a, b in pairwise(offsets))


def write_shard(rows: Sequence[Row], data_uri: str, path: str) -> Shard:
    """Store rows as one Parquet file at ``path`` under a curated folder, whole or not at all.

    A group of rows is what a reader fetches with one request; pages carry checksums, and the footer the small columns
    that a training plan is made from, so that one request a file tells what lies in it.
    """
    table = to_table(rows)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table, row_group_size=_rows_per_group(rows))
        writer.add_key_value_metadata({INDEX_KEY: _index_of(table)})
    data = buffer.getvalue()
    storage.write_bytes(storage.join(data_uri, path), data)
    return Shard(path, len(rows), len(data), sha256(data).hexdigest())


def _rows_per_group(rows: Sequence[Row]) -> int:
    size = sum(row.latent_mean.nbytes + row.latent_std.nbytes + row.text.nbytes for row in rows) / max(1, len(rows))
    return int(min(MAX_GROUP_ROWS, max(1, GROUP_BYTES // max(1.0, size))))


def _index_of(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    index = table.select(INDEX_COLUMNS)
    with pa.ipc.new_stream(sink, index.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(index)
    return b64encode(sink.getvalue().to_pybytes()).decode()


def read_rows(data_uri: str, shard: Shard, numbers: Iterable[int] | None = None) -> list[Row]:
    """Rows of a shard in the order of their ``numbers`` (all by default); only their row groups are read."""
    with storage.open_input(storage.join(data_uri, shard.path)) as source:
        file = pq.ParquetFile(source)
        if numbers is None:
            return from_table(file.read())
        wanted = np.fromiter(numbers, np.int64)
        first = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))])
        groups = np.unique(np.searchsorted(first, wanted, side="right") - 1)
        found = from_table(file.read_row_groups(groups.tolist())) if len(groups) else []
    held = np.concatenate([np.arange(first[group], first[group + 1]) for group in groups] or [wanted])
    return [found[place] for place in np.searchsorted(held, wanted)]


def read_table(data_uri: str, shard: Shard, names: Sequence[str]) -> pa.Table:
    """Some columns of one shard."""
    with storage.open_input(storage.join(data_uri, shard.path)) as source:
        return pq.read_table(source, columns=list(names))
