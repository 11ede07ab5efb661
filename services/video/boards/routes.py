"""The routes of curated sets and training runs, read-only, for keys with the scope ``data``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request, Response

from services.video.boards import footage as reading
from services.video.boards.footage import Place, Wanted
from services.video.boards.schemas import (
    Footage,
    FootageClipList,
    FootageList,
    FootageTotals,
    TrainingRun,
    TrainingRunDetails,
    TrainingRunList,
)
from services.video.boards.training import CONTENT_TYPES, Run
from services.video.cached import CachedEach
from services.video.config import BOARD_NAME, StudioSettings
from services.video.errors import ApiError, refused
from services.video.routes.access import keyed_router
from sora_core import storage
from sora_core.errors import MissingObject

KEEP_S = 5.0  # what is looked at while a job writes it may be so old
_PLACE = r"^[\w.-]{1,200}:\d{1,9}$"

router = keyed_router()
Name = Annotated[str, Path(pattern=BOARD_NAME)]


class Boards:
    """The operator's curated sets and runs by name, read anew every few seconds at most."""

    def __init__(self, settings: StudioSettings) -> None:
        self.footage: Mapping[str, str] = settings.footage
        self.training: Mapping[str, str] = settings.training
        self.totals = CachedEach(self._totals, KEEP_S)
        self.run = CachedEach(self._run, KEEP_S)

    def _totals(self, name: str | None) -> FootageTotals:
        uri = self.footage[name or ""]
        return FootageTotals.of(name or "", uri, reading.Footage(uri).totals())

    def _run(self, name: str | None) -> TrainingRunDetails:
        return TrainingRunDetails.read(name or "", self.training[name or ""])


async def _boards(request: Request) -> Boards:
    boards: Boards = request.app.state.boards
    return boards


TheBoards = Annotated[Boards, Depends(_boards)]


def _named(places: Mapping[str, str], name: str, kind: str) -> str:
    if name not in places:
        known = ", ".join(places) or "none"
        message = f"no {kind} {name!r} under studio.{kind} in the config; there are: {known}"
        raise ApiError(404, message, code="not_found")
    return places[name]


@contextmanager
def _explained() -> Iterator[None]:
    """What isn't in the storage is 404, as everywhere."""
    try:
        yield
    except MissingObject as error:
        raise ApiError(404, str(error), code="not_found") from error


@router.get("/footage")
def list_footage(boards: TheBoards) -> FootageList:
    """The curated sets that the operator has named."""
    return FootageList(data=[Footage(id=name, uri=uri) for name, uri in boards.footage.items()])


@router.get("/footage/{name}")
def retrieve_footage(name: Name, boards: TheBoards) -> FootageTotals:
    """What became of every object and clip of a set, by reason."""
    _named(boards.footage, name, "footage")
    with _explained():
        return boards.totals(name)


@router.get("/footage/{name}/clips")
def list_clips(
    name: Name,
    boards: TheBoards,
    status: Annotated[Literal["kept", "dropped", "failed"] | None, Query()] = None,
    reason: Annotated[str | None, Query(max_length=200)] = None,
    words: Annotated[str, Query(max_length=200, description="all in its caption or its address")] = "",
    after: Annotated[str | None, Query(pattern=_PLACE)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> FootageClipList:
    """The clips of a set, in the order of its ledger."""
    set_ = reading.Footage(_named(boards.footage, name, "footage"))
    with _explained():
        behind = None if after is None else Place.parse(after)
        return FootageClipList.of(*set_.page(Wanted(status, reason, words), behind, limit))


@router.get("/footage/{name}/clips/{place}/preview", response_class=Response)
def show_clip(name: Name, place: Annotated[str, Path(pattern=_PLACE)], boards: TheBoards) -> Response:
    """The picture that was kept of a clip."""
    set_ = reading.Footage(_named(boards.footage, name, "footage"))
    with _explained():
        return _file(set_.preview(Place.parse(place)), "image/webp")


@router.get("/footage/{name}/report", response_class=Response)
def download_report(name: Name, boards: TheBoards) -> Response:
    """Curation's own page, as a file."""
    set_ = reading.Footage(_named(boards.footage, name, "footage"))
    with _explained():
        body = storage.read_bytes(set_.report_uri)
    return _file(body, "text/html; charset=utf-8", {"content-disposition": f'attachment; filename="{name}.html"'})


@router.get("/training")
def list_runs(boards: TheBoards) -> TrainingRunList:
    """The training runs that the operator has named."""
    return TrainingRunList(data=[TrainingRun(id=name, uri=uri) for name, uri in boards.training.items()])


@router.get("/training/{name}")
def retrieve_run(name: Name, boards: TheBoards) -> TrainingRunDetails:
    """A run's curves and checkpoints."""
    _named(boards.training, name, "training")
    with _explained():
        return boards.run(name)


@router.get("/training/{name}/checkpoints/{step}/files", response_class=Response)
def show_file(
    name: Name,
    step: Annotated[int, Path(ge=0, le=10**12)],
    boards: TheBoards,
    file: Annotated[str, Query(max_length=200, description="one of those that the run tells")],
) -> Response:
    """A checkpoint's card, its curve or one of its samples."""
    run = Run(_named(boards.training, name, "training"))
    kind = CONTENT_TYPES.get(file.rpartition(".")[2])
    if kind is None:
        raise refused("file", f"{file}: a card, a curve or a sample is shown")
    with _explained():
        return _file(storage.read_bytes(run.file(step, file)), kind)


def _file(body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    """Bytes that a stranger may have written: no browser is to see more in them, or to run what is in them."""
    guards = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
    told = guards | {"cache-control": "private, max-age=300"} | dict(headers or {})
    return Response(body, headers=told, media_type=kind)
