"""Asking where a file comes from: checks by upload or id, and the soft-binding resolution of C2PA 2.2."""

import base64
import threading
import time
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from services.video.errors import ApiError, refused, too_many
from services.video.intake.pictures import fetched
from services.video.intake.sources import Sources
from services.video.outbound import Outbound
from services.video.provenance.checks import Checker, ProvenanceCheck
from services.video.provenance.keys import ProvenanceKeys
from services.video.provenance.likenesses import Likenesses
from services.video.provenance.store import OriginStore
from services.video.routes.access import ERRORS, Service, TheService, caller_of
from services.video.routes.forms import Body, Uploads, read_body
from sora_core.errors import UnreadableMedia
from sora_core.safety.credentials import SOFT_BINDING

FILE, VIDEO_ID, URL = "file", "video_id", "url"
_WAYS = (FILE, VIDEO_ID, URL)
_VALUE_BYTES = 4096
_bearer = HTTPBearer(auto_error=False, description="an API key; none is needed where checks are open to strangers")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE],
                    "properties": {FILE: {"type": "string", "format": "binary"}},
                    "additionalProperties": False,
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {VIDEO_ID: {"type": "string"}, URL: {"type": "string", "format": "uri"}},
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                }
            },
        },
    }
}


class Allowance:
    """So many checks a minute for all strangers together, used up in one go at most."""

    def __init__(self, per_minute: float) -> None:
        self._per_s, self._most = per_minute / 60, per_minute
        self._left, self._at = per_minute, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """0 when one was left; else in how many seconds there is one."""
        with self._lock:
            now = time.monotonic()
            self._left, self._at = min(self._most, self._left + (now - self._at) * self._per_s), now
            if self._left < 1.0:
                return (1.0 - self._left) / self._per_s
            self._left -= 1.0
            return 0.0


class Asking:
    """What the routes below work with: the checker, made when it is first needed, and the strangers' allowance."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._checker: Checker | None = None
        self._sources = Sources(service.config.api, service.ledger, service.intake.decoders)
        self.allowance = Allowance(service.config.provenance.checks_per_minute)

    def checker(self) -> Checker:
        with self._lock:
            if self._checker is None:
                keys = ProvenanceKeys.load(self._service.config)
                store = OriginStore(self._service.ledger)
                looks = Likenesses(self._service.ledger)
                self._checker = Checker(keys.mark_keys, keys.anchors, store, looks, self._service.config.api)
            return self._checker

    def file(self, owner: str, way: str, body: Body, folder: Path) -> Path:
        """What is to be checked, in a folder: what was sent, an own video, or what lies at a URL."""
        if way == FILE:
            return body.files[FILE]
        if way == VIDEO_ID:
            job = self._sources.own(owner, str(body.values[VIDEO_ID]), VIDEO_ID)
            return self._sources.fetch(job, VIDEO_ID, folder)
        limits = self._service.config.api
        if not (limits.fetch_urls and owner):
            raise refused(URL, f"URLs are not fetched {'here' if owner else 'without a key'}: send {FILE!r}")
        path = folder / URL
        path.write_bytes(fetched(Outbound(limits.outbound), str(body.values[URL]), URL, limits.max_video_bytes))
        return path


async def _asking(request: Request) -> Asking:
    found: Asking = request.app.state.asking
    return found


async def _may_ask(
    request: Request,
    service: TheService,
    asking: Annotated[Asking, Depends(_asking)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """Whoever has a key, by the owner's name; strangers, who have none, where the operator lets them, so many a
    minute."""
    if credentials is None and service.config.provenance.open_checks:
        wait_s = asking.allowance.take()
        if wait_s:
            raise too_many("strangers have used up their checks of this minute", "rate_limit_exceeded", wait_s)
        return ""
    return (await caller_of(request, service, credentials)).owner


Owner = Annotated[str, Depends(_may_ask)]
TheAsking = Annotated[Asking, Depends(_asking)]
router = APIRouter(prefix="/v1", responses=ERRORS, dependencies=[Depends(_may_ask)])


@router.post("/content_provenance_checks", openapi_extra=_BODY)
async def check_provenance(
    request: Request, service: TheService, asking: TheAsking, owner: Owner, uploads: Uploads
) -> ProvenanceCheck:
    """Whether a video or picture is one of ours: its content credentials, the mark in its pixels, and its looks. It
    comes as ``file``, or is named by the ``video_id`` of an own video or, where URLs are fetched, by its ``url``."""
    limits = service.config.api
    body = await read_body(request, limits, _VALUE_BYTES, uploads, limits.max_video_bytes, (FILE,))
    given = {name for name, value in (body.values | body.files).items() if value not in (None, "")}
    for name in sorted(given - set(_WAYS)):
        raise refused(name, f"unknown parameter {name!r}: send {FILE!r} alone", "unknown_parameter")
    if len(given) != 1 or FILE in body.values:
        raise refused(FILE, "send one of file (a video or a picture), video_id and url", "missing_parameter")
    [way] = given
    return await service.turns.run(owner, partial(_checked, asking, owner, way, body, uploads, service.ledger.now()))


def _checked(asking: Asking, owner: str, way: str, body: Body, folder: Path, now: float) -> ProvenanceCheck:
    file = asking.file(owner, way, body, folder)
    try:
        return asking.checker().check(file, now)
    except UnreadableMedia as error:
        raise refused(way, str(error), "invalid_file") from error


class Algorithm(BaseModel):
    alg: str


class Algorithms(BaseModel):
    watermarks: list[Algorithm]
    fingerprints: list[Algorithm]


class Match(BaseModel):
    manifestId: str  # noqa: N815
    endpoint: str


class Matches(BaseModel):
    matches: list[Match]


@router.get("/c2pa/services/supportedAlgorithms")
def supported_algorithms() -> Algorithms:
    """The soft bindings that can be resolved here."""
    return Algorithms(watermarks=[Algorithm(alg=SOFT_BINDING)], fingerprints=[])


@router.get("/c2pa/matches/byBinding")
def matches_by_binding(
    asking: TheAsking, alg: Annotated[str, Query(max_length=64)], value: Annotated[str, Query(max_length=64)]
) -> Matches:
    """The manifests that a mark leads to; ``value`` is its number in base64, as the credentials hold it."""
    if alg != SOFT_BINDING:
        raise refused("alg", f"alg {alg!r} is not resolved here: use {SOFT_BINDING}", "unsupported")
    mark = _mark(value)
    known = asking.checker().known(mark)
    found = [] if known is None or known.manifest is None else [Match(manifestId=f"{mark:012x}", endpoint="/v1/c2pa")]
    return Matches(matches=found)


@router.get("/c2pa/manifests/{manifest_id}", response_class=Response)
def manifest(manifest_id: str, asking: TheAsking) -> Response:
    """A manifest store that was once in a file."""
    known = None
    if len(manifest_id) == 12 and all(digit in "0123456789abcdef" for digit in manifest_id):
        known = asking.checker().known(int(manifest_id, 16))
    if known is None or known.manifest is None:
        raise ApiError(404, f"no manifest {manifest_id!r}", code="not_found")
    return Response(known.manifest, media_type="application/c2pa")


def _mark(value: str) -> int:
    try:
        return int.from_bytes(base64.b64decode(value, validate=True)[:6], "big")
    except ValueError as error:
        raise refused("value", "value is not base64") from error
