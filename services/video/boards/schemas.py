"""Curated sets and training runs over the wire."""

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel

from services.video.boards.footage import Totals, Verdict
from services.video.boards.training import Curves, Run


class Footage(BaseModel):
    """A curated set that the operator has named."""

    id: str
    object: Literal["footage"] = "footage"
    uri: str


class FootageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Footage]


class Reason(BaseModel):
    """How many had this verdict for this reason; what was kept has none."""

    status: str
    reason: str | None
    count: int


class FootageTotals(BaseModel):
    """What became of all that came in; ``seconds`` are those of the clips that were kept."""

    id: str
    object: Literal["footage.totals"] = "footage.totals"
    uri: str
    objects: list[Reason]
    clips: list[Reason]
    seconds: float
    has_report: bool

    @classmethod
    def of(cls, name: str, uri: str, totals: Totals) -> "FootageTotals":
        return cls(
            id=name,
            uri=uri,
            objects=_reasons(totals.objects),
            clips=_reasons(totals.clips),
            seconds=totals.seconds,
            has_report=totals.has_report,
        )


def _reasons(counted: Counter[Verdict]) -> list[Reason]:
    order = sorted(counted.items(), key=lambda item: ("kept dropped failed".find(item[0][0]), -item[1], item[0]))
    return [Reason(status=status, reason=reason or None, count=count) for (status, reason), count in order]


class FootageClip(BaseModel):
    """A clip as curation judged it; ``place`` is its row of the ledger, ``preview`` whether a picture was kept."""

    place: str
    object: Literal["footage.clip"] = "footage.clip"
    clip_id: str
    uri: str
    start_s: float | None
    end_s: float | None
    status: str
    reason: str | None
    caption: str | None
    licence: str | None
    fps: float | None
    frames: int | None
    width: int | None
    height: int | None
    scores: dict[str, float]
    preview: bool


class FootageClipList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FootageClip]
    has_more: bool
    first_id: str | None
    last_id: str | None

    @classmethod
    def of(cls, clips: list[dict[str, Any]], has_more: bool) -> "FootageClipList":
        data = [FootageClip(**clip) for clip in clips]
        first, last = (data[0].place, data[-1].place) if data else (None, None)
        return cls(data=data, has_more=has_more, first_id=first, last_id=last)


class TrainingRun(BaseModel):
    """A training run that the operator has named."""

    id: str
    object: Literal["training.run"] = "training.run"
    uri: str


class TrainingRunList(BaseModel):
    object: Literal["list"] = "list"
    data: list[TrainingRun]


class TrainingCurves(BaseModel):
    """A point for each stretch of steps, told by its last step; null is no number."""

    step: list[int]
    values: dict[str, list[float | None]]

    @classmethod
    def of(cls, curves: Curves) -> "TrainingCurves":
        return cls(step=curves.step, values=curves.values)


class TrainingCheckpoint(BaseModel):
    """A checkpoint, and which of its files are for people: its card, its curve, its samples."""

    step: int
    files: list[str]


class TrainingRunDetails(TrainingRun):
    """A run with its curves and its checkpoints, newest first."""

    curves: TrainingCurves
    checkpoints: list[TrainingCheckpoint]

    @classmethod
    def read(cls, name: str, uri: str) -> "TrainingRunDetails":
        run = Run(uri)
        checkpoints = [TrainingCheckpoint(step=one.step, files=one.files) for one in run.checkpoints()]
        return cls(id=name, uri=uri, curves=TrainingCurves.of(run.curves()), checkpoints=checkpoints)
