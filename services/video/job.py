"""What a job is: the values that go into the ledger and come out of it."""

import itertools
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Kind(StrEnum):
    """What a job makes; the first part of its id."""

    VIDEO = "video"
    IMAGE = "image"


OPEN = (Status.QUEUED, Status.IN_PROGRESS)
CANCELLED = "cancelled"  # the error code of a job that was stopped on request


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What the API decides about a job before the ledger has it.

    ``tokens`` is its load on a batch and ``num_steps`` how often; ``queued_as`` the Unix time that its place in the
    queue counts from, earlier than now for a raised priority; ``expires_at`` when a result is removed in any case.
    """

    id: str
    owner: str
    model: str
    params: dict[str, Any]
    tokens: int
    num_steps: int
    priority: int
    queued_as: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a request, and the digest that tells whether the same key came with another one."""

    key: str
    digest: str


class IdempotencyConflict(Exception):
    """The key was used before, for another request."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job: a later attempt, even of the same worker, is another lease."""

    job_id: str
    worker: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the ledger. Times are Unix seconds; ``result`` holds the files of a completed job."""

    id: str
    owner: str
    model: str
    status: Status
    progress: int
    params: dict[str, Any]
    tokens: int
    num_steps: int
    priority: int
    queued_as: float
    attempts: int
    lease_owner: str | None
    lease_expires_at: float | None
    cancel_requested: bool
    result: dict[str, Any] | None
    error_code: str | None
    error_message: str | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    deleted_at: float | None

    @property
    def kind(self) -> Kind:
        return Kind(self.id.partition("_")[0])

    @property
    def lease(self) -> Lease:
        assert self.lease_owner is not None, f"{self.id} is not claimed"
        return Lease(self.id, self.lease_owner, self.attempts)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which leases shall be dropped: asked to cancel (still held), or lost to a deletion or another worker."""

    cancelled: frozenset[Lease]
    lost: frozenset[Lease]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and whether the list goes on."""

    jobs: list[Job]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Work in the ledger: ``waiting`` jobs, ``token_steps`` still to do with those in progress, and
    ``token_steps_per_s`` what the live workers manage together."""

    waiting: int
    token_steps: float
    token_steps_per_s: float
    live_workers: int

    @property
    def wait_s(self) -> float | None:
        """How long the accepted work takes; None while no worker has shown its rate."""
        if self.token_steps == 0:
            return 0.0
        return self.token_steps / self.token_steps_per_s if self.token_steps_per_s > 0 else None


VIDEO_ID = re.compile("^video_[0-9a-f]{32}$")
IMAGE_ID = re.compile("^image_[0-9a-f]{32}$")
_counter = itertools.count(secrets.randbits(12))


def new_id(now: float, kind: Kind = Kind.VIDEO) -> str:
    """An id whose alphabetical order is the order of creation: 48 bits of milliseconds, a counter, 64 random bits."""
    return f"{kind}_{int(now * 1000):012x}{next(_counter) & 0xFFFF:04x}{secrets.token_hex(8)}"
