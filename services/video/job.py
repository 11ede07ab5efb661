"""What a job is: the values that go into the ledger and come out of it."""

import itertools
import math
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


class Stage(StrEnum):
    """What an open job needs next; nobody holds its lease while it waits for a worker of that kind."""

    SAMPLE = "sample"
    DECODE = "decode"


OPEN = (Status.QUEUED, Status.IN_PROGRESS)
CANCELLED = "cancelled"  # the error code of a job that was stopped on request
OVERDUE = "deadline_exceeded"
UNSERVED = "model_unavailable"
SAMPLED_PERCENT = 90  # of a job's progress; decoding is the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What the API decides about a job before the ledger has it.

    ``tokens`` is its load on a batch and ``num_steps`` how often; ``queued_as`` the Unix time that its place in the
    queue counts from, earlier than now for a raised priority; ``made`` is empty for what has files to work on, None for
    a video of words alone; ``expires_at`` when a result is removed in any case. One that isn't done at ``deadline_at``
    fails; ``predicted_s`` is in how many seconds it was predicted to be,
    ``reckoned_s`` in how many by the workers' rates alone.
    """

    id: str
    owner: str
    model: str
    params: dict[str, Any]
    tokens: int
    num_steps: int
    priority: int
    queued_as: float
    made: list[str] | None = None
    stage: Stage = Stage.SAMPLE
    expires_at: float | None = None
    deadline_at: float | None = None
    predicted_s: float | None = None
    reckoned_s: float | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a request, and the digest that tells whether the same key came with another one."""

    key: str
    digest: str


class IdempotencyConflict(Exception):
    """The key was used before, for another request."""


class RequestGone(Exception):
    """The key was used before, and nothing is left of what that request made."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job: a later attempt, even of the same worker, is another lease."""

    job_id: str
    worker: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of the ledger. Times are Unix seconds; ``result`` holds the files of a completed job.

    ``saved`` is where its latents are stored: the newest of its sampling, or the finished ones; ``made``, of an edit,
    where the frames of its finished windows are. ``losses`` counts the workers that it lost since it last got on.
    ``announced``: its end was told to the webhooks.
    """

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
    stage: Stage
    saved: str | None
    made: list[str] | None
    losses: int
    deadline_at: float | None
    announced: bool
    predicted_s: float | None
    reckoned_s: float | None

    @property
    def kind(self) -> Kind:
        return Kind(self.id.partition("_")[0])

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def window(self) -> int:
        """The window at hand."""
        return len(self.made or ())

    @property
    def num_windows(self) -> int:
        """What its film is made in: as many rounds of sampling and decoding."""
        windows: int = self.params["num_windows"]
        return windows

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


@dataclass(frozen=True, slots=True)
class Crowd:
    """Tokens of all jobs that are to be sampled, the live samplers, and those of them that hold nothing."""

    tokens: float
    samplers: int
    idle: int

    @property
    def share(self) -> float:
        """Tokens of one sampler when all have as many."""
        return self.tokens / max(1, self.samplers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Work in the ledger: ``waiting`` jobs of the ``unsampled`` ones, the ``undecoded`` ones behind these, and the
    ``token_steps`` and ``tokens`` still to be sampled and decoded.

    ``token_steps_per_s`` is what the live samplers manage together, ``rate_of_one`` what one last managed, also when
    none is left; ``decoded_per_s`` and ``decoded_by_one`` are the decoders' tokens; 0 for unknown. ``wait_factor`` is
    what jobs took lately over what was reckoned of them.
    """

    waiting: int
    unsampled: int
    token_steps: float
    token_steps_per_s: float
    rate_of_one: float
    live_workers: int
    undecoded: int = 0
    tokens: float = 0.0
    decoded_per_s: float = 0.0
    decoded_by_one: float = 0.0
    wait_factor: float = 1.0

    @property
    def wait_s(self) -> float | None:
        """How long the accepted work takes the live workers, or the next one; None before a rate was measured."""
        return self.wait_with(0, 0)

    def wait_with(self, token_steps: float, tokens: float) -> float | None:
        """`wait_s` with so much work more."""
        reckoned = self.reckoned_s(token_steps, tokens)
        return None if reckoned is None else self.wait_factor * reckoned

    def wait_of_one_s(self, *, decodes: bool) -> float | None:
        """How long one sampler would take, which decodes as well or not; None before a rate was measured."""
        sampling = _seconds(self.token_steps, self.rate_of_one)
        decoding = _seconds(self.tokens, self.decoded_by_one) if decodes else 0.0
        return None if sampling is None else self.wait_factor * max(sampling, decoding or 0.0)

    def reckoned_s(self, token_steps: float, tokens: float) -> float | None:
        """Seconds of work by the rates alone: samplers and decoders work at the same time, each at its own."""
        sampling = _seconds(self.token_steps + token_steps, self.token_steps_per_s or self.rate_of_one)
        decoding = _seconds(self.tokens + tokens, self.decoded_per_s or self.decoded_by_one)
        if sampling is None:
            return None
        return max(sampling, decoding or 0.0)


def _seconds(work: float, rate: float) -> float | None:
    if work == 0:
        return 0.0
    return work / rate if rate > 0 else None


VIDEO_ID = re.compile("^video_[0-9a-f]{32}$")
IMAGE_ID = re.compile("^image_[0-9a-f]{32}$")
_BORN = re.compile("^(?:video|image|char)_([0-9a-f]{12})[0-9a-f]{20}$")
_counter = itertools.count(secrets.randbits(12))


def new_id(now: float, kind: Kind = Kind.VIDEO) -> str:
    """An id whose alphabetical order is the order of creation: 48 bits of milliseconds, a counter, 64 random bits."""
    return f"{kind}_{int(now * 1000):012x}{next(_counter) & 0xFFFF:04x}{secrets.token_hex(8)}"


def born_at(name: str) -> float:
    """When an id was given, in Unix seconds; never (infinity) for what is no id of this service."""
    found = _BORN.match(name)
    return int(found[1], 16) / 1000 if found else math.inf
