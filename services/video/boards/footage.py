"""A curated set, out of the ledger that curation left: what became of every object and clip, part by part."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sora_core import storage
from sora_core.errors import MissingObject

REPORT = "report.html"
FACTS = (
    "clip_id", "uri", "start_s", "end_s", "status", "reason", "caption", "licence", "fps", "frames", "width", "height",
)  # fmt: skip
_TIMES = {"start_s", "end_s", "fps", "seconds"}
Verdict = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A row of the ledger: its part by name, and which of its rows."""

    part: str
    row: int

    def __str__(self) -> str:
        return f"{self.part}:{self.row}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """What ``str`` wrote. ValueError for anything else."""
        part, _, row = text.rpartition(":")
        return cls(part, int(row))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which clips: of a status, for a reason, with words in their caption or address; None and empty mean any."""

    status: str | None = None
    reason: str | None = None
    words: str = ""

    def rows(self, table: pa.Table) -> list[int]:
        """The rows of a part that are clips and wanted."""
        mask = pc.is_valid(table["clip_id"])
        for name, value in (("status", self.status), ("reason", self.reason)):
            if value is not None:
                mask = pc.and_(mask, pc.fill_null(pc.equal(table[name], value), False))
        for word in self.words.split():
            found = [
                pc.fill_null(pc.match_substring(table[name].cast(pa.string()), word, ignore_case=True), False)
                for name in ("caption", "uri")
            ]
            mask = pc.and_(mask, pc.or_(*found))
        rows: list[int] = pc.indices_nonzero(mask).to_pylist()
        return rows


@dataclass(frozen=True, slots=True)
class Totals:
    """Objects and clips by verdict and reason, and the seconds of the clips that were kept."""

    objects: Counter[Verdict]
    clips: Counter[Verdict]
    seconds: float
    has_report: bool


class Footage:
    """Reads one part after another, so that memory doesn't grow with the set. MissingObject where there is none."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def totals(self) -> Totals:
        """All of the ledger in numbers."""
        objects: Counter[Verdict] = Counter()
        clips: Counter[Verdict] = Counter()
        seconds = 0.0
        for _, table in self._parts(["clip_id", "status", "reason", "start_s", "end_s"]):
            groups = table.append_column("is_clip", pc.is_valid(table["clip_id"]))
            groups = groups.append_column("length", pc.subtract(table["end_s"], table["start_s"]))
            counted = groups.group_by(["is_clip", "status", "reason"]).aggregate([([], "count_all"), ("length", "sum")])
            for row in counted.to_pylist():
                counter = clips if row["is_clip"] else objects
                counter[row["status"], row["reason"] or ""] += row["count_all"]
                if row["is_clip"] and row["status"] == "kept":
                    seconds += row["length_sum"] or 0.0
        return Totals(objects, clips, seconds, storage.exists(self.report_uri))

    @property
    def report_uri(self) -> str:
        """Where curation's own page is."""
        return storage.join(self._uri, REPORT)

    def page(self, wanted: Wanted, after: Place | None, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """Clips in the order of the ledger, from behind a place on, and whether there are more."""
        found: list[dict[str, Any]] = []
        for part, table in self._parts(None, after.part if after else ""):
            rows = wanted.rows(table)
            if after and part == after.part:
                rows = [row for row in rows if row > after.row]
            rows = rows[: limit + 1 - len(found)]
            scores = [name for name in table.column_names if _is_score(table.schema.field(name))]
            for row, values in zip(rows, table.take(pa.array(rows, pa.int64())).to_pylist(), strict=True):
                facts = {name: values.get(name) for name in FACTS}
                known = {name: values[name] for name in scores if values[name] is not None}
                shown = values.get("preview") is not None
                found.append(facts | {"place": str(Place(part, row)), "scores": known, "preview": shown})
            if len(found) > limit:
                break
        return found[:limit], len(found) > limit

    def preview(self, place: Place) -> bytes:
        """The picture that was kept of a clip. MissingObject when there is none."""
        for part, table in self._parts(["preview"], place.part):
            if part == place.part and 0 <= place.row < table.num_rows:
                picture = table["preview"][place.row].as_py()
                if picture is not None:
                    return bytes(picture)
            break
        raise MissingObject(f"no picture was kept of {place}")

    def _parts(self, columns: Sequence[str] | None, first: str = "") -> Iterator[tuple[str, pa.Table]]:
        """The parts by name, from one on; columns that an older ledger lacks are null."""
        for item in storage.list_objects(storage.join(self._uri, "ledger")):
            part = storage.name(item.uri).removesuffix(".parquet")
            if not item.uri.endswith(".parquet") or part < first:
                continue
            with storage.open_input(item.uri) as source:
                file = pq.ParquetFile(source)
                there = file.schema_arrow.names
                wanted = [name for name in (columns or there) if name in there and name != "fingerprint"]
                table = file.read(columns=wanted)
            for name in {*(columns or FACTS)} - {*there}:
                table = table.append_column(name, pa.nulls(table.num_rows))
            yield part, table


def _is_score(field: pa.Field) -> bool:
    return pa.types.is_float64(field.type) and field.name not in _TIMES
